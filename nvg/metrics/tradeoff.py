"""The trade between a distance (less is better) and precision (more is better) over settings."""

from collections.abc import Sequence

Point = tuple[float, float]  # distance, precision


def pareto_front(points: Sequence[Point]) -> list[int]:
    """Numbers of the points that no other beats in both, from the lowest distance on."""
    order = sorted(range(len(points)), key=lambda n: (points[n][0], -points[n][1], n))
    front: list[int] = []
    for n in order:
        if not front or points[n][1] > points[front[-1]][1]:
            front.append(n)
    return front


def elbow(points: Sequence[Point]) -> int | None:
    """The point of the front that lies farthest above the line between the front's ends.

    Before it precision is cheap in distance, beyond it dear. None where no point lies above.
    """
    front = pareto_front(points)
    if len(front) < 3:
        return None
    (d0, p0), (d1, p1) = points[front[0]], points[front[-1]]

    def height(n: int) -> float:
        distance, precision = points[n]
        return (precision - p0) / (p1 - p0) - (distance - d0) / (d1 - d0)

    highest = max(front[1:-1], key=height)
    return highest if height(highest) > 0 else None
