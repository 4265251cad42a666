"""The front of distance and precision, and its elbow, against slow code and by hand."""

from hypothesis import given, settings
from hypothesis import strategies as st

from nvg.metrics.tradeoff import elbow, pareto_front

numbers = st.integers(0, 5).map(float)


@settings(deadline=None, max_examples=80)
@given(st.lists(st.tuples(numbers, numbers), min_size=1, max_size=12))
def test_the_front_is_what_no_other_beats(points: list[tuple[float, float]]) -> None:
    """Every value of a beaten point is at least as good elsewhere; of equal points the first."""

    def is_beaten(n: int) -> bool:
        distance, precision = points[n]
        return any(
            d <= distance and p >= precision and ((d, p) != points[n] or m < n)
            for m, (d, p) in enumerate(points)
        )

    front = pareto_front(points)
    assert sorted(front) == [n for n in range(len(points)) if not is_beaten(n)]
    assert [points[n][0] for n in front] == sorted(points[n][0] for n in front)


def test_the_elbow_lies_highest_above_the_ends() -> None:
    """Most of the precision for a tenth of the distance; beaten points do not count."""
    points = [(10.0, 0.5), (20.0, 0.9), (19.0, 0.4), (11.0, 0.8), (15.0, 0.85)]
    assert pareto_front(points) == [0, 3, 4, 1]
    assert elbow(points) == 3


def test_there_may_be_no_elbow() -> None:
    """Two points, a straight line, a front that hangs below its ends."""
    assert elbow([(1.0, 0.1), (2.0, 0.5)]) is None
    assert elbow([(0.0, 0.0), (1.0, 1.0), (2.0, 2.0)]) is None
    assert elbow([(0.0, 0.0), (1.0, 0.1), (2.0, 2.0)]) is None
