"""The structure builders and their measures again, slow and obvious: loops over Python integers.

Nothing here imports nvg: the tests hold the fast modules against these functions.
Shape letters: N position, C latent channel.
"""

from collections.abc import Callable, Iterator, Sequence
from fractions import Fraction
from functools import cache
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from tests.nvg.structure import reference

Point = Sequence[int]
Pair = tuple[int, int]  # clusters of a level by their smallest position, left < right
Pairing = Callable[[Sequence[Point]], list[Pair]]
Latents = NDArray[np.floating]


def distance(p: Point, q: Point) -> int:
    """Squared distance of two lattice points."""
    return sum((a - b) ** 2 for a, b in zip(p, q, strict=True))


def distances(points: Sequence[Point]) -> list[list[int]]:
    """Squared distances of all to all."""
    return [[distance(p, q) for q in points] for p in points]


def greedy_pairs(points: Sequence[Point]) -> list[Pair]:
    """Of the clusters still free the closest two, by (d2, i xor j, i); in order of the left one."""
    square, count = distances(points), len(points)
    edges = sorted((square[i][j], i ^ j, i, j) for i, j in combinations(range(count), 2))
    pairs: list[Pair] = []
    used: set[int] = set()
    for _, _, i, j in edges:
        if not used & {i, j}:
            used |= {i, j}
            pairs.append((i, j))
    return sorted(pairs)


def swaps_between(first: Pair, second: Pair) -> list[tuple[Pair, Pair]]:
    """Left with left and right with right, then crossed; the first pair keeps its left cluster."""
    (a, b), (c, d) = first, second
    exchanged = [((a, c), (b, d)), ((a, d), (b, c))]
    return [((min(p), max(p)), (min(q), max(q))) for p, q in exchanged]


def swapped_pairs(points: Sequence[Point]) -> list[Pair]:
    """Greedy pairs after 2-opt: pair by pair the best swap, until no pair gains by any."""
    square, pairs = distances(points), greedy_pairs(points)

    def cost(*some: Pair) -> int:
        return sum(square[i][j] for i, j in some)

    def best_swap(k: int) -> tuple[int, Pair, Pair] | None:
        gaining = []
        for other in range(len(pairs)):
            if other != k:
                for order, (mine, theirs) in enumerate(swaps_between(pairs[k], pairs[other])):
                    gain = cost(pairs[k], pairs[other]) - cost(mine, theirs)
                    if gain > 0:
                        gaining.append((-gain, other, order, mine, theirs))
        if not gaining:
            return None
        _, other, _, mine, theirs = min(gaining)
        return other, mine, theirs

    changed = set(range(len(pairs)))
    while changed:
        for k in range(len(pairs)):
            while k in changed:
                swap = best_swap(k)
                if swap is None:
                    changed.remove(k)
                else:
                    other, pairs[k], pairs[other] = swap
                    changed.add(other)
    return sorted(pairs)


def merged_leaves(points: Sequence[Point], pairing: Pairing) -> list[int]:
    """Leaves of lattice points whose clusters are paired level by level; a merge is a sum."""
    trees: list[object] = list(range(len(points)))
    while len(points) > 1:
        pairs = pairing(points)
        trees = [(trees[i], trees[j]) for i, j in pairs]
        points = [[a + b for a, b in zip(points[i], points[j], strict=True)] for i, j in pairs]
    return reference.invert(reference.walk(trees[0]))


def levels(
    latents_NC: Latents, leaves_N: Sequence[int]
) -> Iterator[tuple[list[list[int]], list[Pair]]]:
    """Of every level from the leaves up: its clusters' lattice points, and the pairs that merge."""
    points = reference.lattice(latents_NC)
    last_stage = reference.log2(len(points))
    for stage in range(last_stage, 0, -1):
        label_N = [reference.label(leaf, stage, last_stage) for leaf in leaves_N]
        names = list(dict.fromkeys(label_N))  # in order of their smallest position
        sums = []
        for name in names:
            members = [point for point, label in zip(points, label_N, strict=True) if label == name]
            sums.append([sum(column) for column in zip(*members, strict=True)])
        sides = [
            (names.index(2 * pair), names.index(2 * pair + 1)) for pair in range(2**stage // 2)
        ]
        yield sums, sorted((min(side), max(side)) for side in sides)


def matchings(free: Sequence[int]) -> Iterator[list[Pair]]:
    """Every perfect matching of some clusters."""
    if not free:
        yield []
        return
    first, rest = free[0], free[1:]
    for position, second in enumerate(rest):
        for others in matchings([*rest[:position], *rest[position + 1 :]]):
            yield [(first, second), *others]


def matching_cost(square: Sequence[Sequence[int]], pairs: Sequence[Pair]) -> tuple[int, int]:
    """What a matching is judged by: the sum of squared distances, then the sum of i xor j."""
    return sum(square[i][j] for i, j in pairs), sum(i ^ j for i, j in pairs)


def least_matching_cost(square: Sequence[Sequence[int]]) -> tuple[int, int]:
    """The least cost among all perfect matchings: the first free cluster takes each other one."""

    @cache
    def least(free: tuple[int, ...]) -> tuple[int, int]:
        if not free:
            return 0, 0
        first, *rest = free
        costs = []
        for second in rest:
            far, apart = least(tuple(other for other in rest if other != second))
            costs.append((far + square[first][second], apart + (first ^ second)))
        return min(costs)

    return least(tuple(range(len(square))))


def largest_sum(sizes: Sequence[int], limit: int) -> set[int]:
    """Of the sets with the largest sum up to the limit, the one that does without late indices."""
    sets = [
        chosen
        for count in range(len(sizes) + 1)
        for chosen in combinations(range(len(sizes)), count)
        if sum(sizes[n] for n in chosen) <= limit
    ]
    return set(min(sets, key=lambda chosen: (-sum(sizes[n] for n in chosen), sorted(chosen)[::-1])))


def mean_point(points: Sequence[Point]) -> list[Fraction]:
    """The mean of lattice points, exactly."""
    return [Fraction(sum(column), len(points)) for column in zip(*points, strict=True)]


def balanced_split(
    part: Sequence[int], labels: Sequence[int], points: Sequence[Point]
) -> tuple[list[int], list[int]]:
    """Two halves of a cluster of several regions: whole ones as far as they go, then one is cut."""
    regions: dict[int, list[int]] = {}
    for position in sorted(part):
        regions.setdefault(labels[position], []).append(position)
    largest_first = sorted(regions.values(), key=lambda region: (-len(region), region[0]))
    chosen = largest_sum([len(region) for region in largest_first], len(part) // 2)
    inside = [p for n, region in enumerate(largest_first) if n in chosen for p in region]
    others = [region for n, region in enumerate(largest_first) if n not in chosen]
    missing = len(part) // 2 - len(inside)
    if missing == 0:
        return inside, [p for region in others for p in region]
    cut, outside = others[0], [p for region in others[1:] for p in region]

    def towards_inside(position: int) -> Fraction:
        nearer = Fraction(0)
        for sign, side in ((1, outside), (-1, inside)):
            if side:
                mean = mean_point([points[p] for p in side])
                offset = zip(points[position], mean, strict=True)
                nearer += sign * sum((a - b) ** 2 for a, b in offset)
        return nearer

    ranked = sorted(cut, key=lambda position: (-towards_inside(position), position))
    return inside + ranked[:missing], outside + ranked[missing:]


def segment_leaves(latents_NC: Latents, labels: Sequence[int]) -> list[int]:
    """Leaves that follow a label per position: halves top-down, greedy inside one region."""
    points = reference.lattice(latents_NC)

    def arrange(part: list[int]) -> list[int]:
        part = sorted(part)
        if len({labels[position] for position in part}) > 1:
            first, second = balanced_split(part, labels, points)
            return arrange(first) + arrange(second)
        if len(part) == 1:
            return part
        inner = reference.greedy_leaves(latents_NC[part])
        return [part[place] for place in reference.invert(inner)]

    order = arrange(list(range(len(labels))))
    return reference.canonical(reference.invert(order))


def majority(label_DD: Sequence[Sequence[int]], grid: int) -> list[int]:
    """Per cell of the grid the label of most pixels, the lowest on a tie; sizes are multiples."""
    high, wide = len(label_DD) // grid, len(label_DD[0]) // grid
    cells = []
    for y in range(grid):
        for x in range(grid):
            votes: dict[int, int] = {}
            for row in label_DD[y * high : (y + 1) * high]:
                for label in row[x * wide : (x + 1) * wide]:
                    votes[label] = votes.get(label, 0) + 1
            cells.append(min(votes, key=lambda label: (-votes[label], label)))
    return cells


def variances(latents_BNC: Latents, leaves_BN: Sequence[Sequence[int]]) -> list[float]:
    """Per stage the mean squared distance of a latent value from its cluster's mean."""
    last_stage = reference.log2(latents_BNC.shape[1])
    result = []
    for stage in range(last_stage + 1):
        squares = []
        for latents_NC, leaves_N in zip(latents_BNC.astype(np.float64), leaves_BN, strict=True):
            label_N = np.array([reference.label(leaf, stage, last_stage) for leaf in leaves_N])
            for cluster in range(2**stage):
                members_MC = latents_NC[label_N == cluster]
                squares.append((members_MC - members_MC.mean(0)) ** 2)
        result.append(float(np.concatenate(squares).mean()))
    return result


def borders(
    leaves_BN: Sequence[Sequence[int]], segments_BN: Sequence[Sequence[int]]
) -> tuple[list[float], list[float]]:
    """Per stage the recall and the precision of region borders between neighbours on the grid."""
    last_stage = reference.log2(len(leaves_BN[0]))
    grid = 2 ** (last_stage // 2)
    recall, precision = [], []
    for stage in range(last_stage + 1):
        both, regions, clusters = 0, 0, 0
        for leaves_N, segments_N in zip(leaves_BN, segments_BN, strict=True):
            for p in range(grid * grid):
                beside = [p + 1] if p % grid < grid - 1 else []
                below = [p + grid] if p // grid < grid - 1 else []
                for q in beside + below:
                    labels = [reference.label(leaves_N[n], stage, last_stage) for n in (p, q)]
                    is_region = segments_N[p] != segments_N[q]
                    is_cluster = labels[0] != labels[1]
                    regions, clusters = regions + is_region, clusters + is_cluster
                    both += is_region and is_cluster
        recall.append(both / regions if regions else 1.0)
        precision.append(both / clusters if clusters else 1.0)
    return recall, precision
