"""Leaves of one image again, slow and obvious: plain loops written from the paper's formulas alone.

Nothing here imports nvg: the tests hold the fast modules against these functions.
Shape letters: N position, C latent channel.
"""

from collections.abc import Sequence
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray


def log2(count: int) -> int:
    """The exponent of a power of two (Notation: K = log2 L)."""
    exponent = count.bit_length() - 1
    assert count == 2**exponent
    return exponent


def lattice_bits(positions: int, channels: int) -> int:
    """b = floor((53 - 2 log2(n) - ceil(log2 C)) / 2) - 1 (Structure construction, exactness)."""
    ceil_log2_channels = 0
    while 2**ceil_log2_channels < channels:
        ceil_log2_channels += 1
    return (53 - 2 * log2(positions) - ceil_log2_channels) // 2 - 1


def lattice_scale(largest: float, bits: int) -> float:
    """The largest power of two s that float64 holds with s * largest <= 2^bits - 1.

    1 for a constant image.
    """
    if largest == 0.0:
        return 1.0
    limit, value, scale = Fraction(2**bits - 1), Fraction(largest), Fraction(1)
    while scale * value > limit:
        scale /= 2
    while 2 * scale * value <= limit and scale < 2**1023:
        scale *= 2
    return float(scale)


def lattice(latents_NC: NDArray[np.floating]) -> list[list[int]]:
    """Latents as integers X = rint((Z - mid) * s) (Structure construction, exactness)."""
    rows = [[float(value) for value in row] for row in latents_NC]
    columns = list(zip(*rows, strict=True))
    middle = [(min(column) + max(column)) / 2 for column in columns]
    centred = [[z - m for z, m in zip(row, middle, strict=True)] for row in rows]
    largest = max(abs(value) for row in centred for value in row)
    scale = lattice_scale(largest, lattice_bits(len(rows), len(columns)))
    return [[round(value * scale) for value in row] for row in centred]


Cluster = tuple[int, list[int], object]  # smallest position, summed feature, its tree


def merge_level(clusters: list[Cluster]) -> list[Cluster]:
    """One level of Alg. 1: all edges by (d2, i xor j, min(i, j)), scanned; a merge is a sum."""
    clusters = sorted(clusters, key=lambda cluster: cluster[0])
    edges = []
    for i in range(len(clusters)):
        for j in range(i + 1, len(clusters)):
            pairs = zip(clusters[i][1], clusters[j][1], strict=True)
            edges.append((sum((a - b) ** 2 for a, b in pairs), i ^ j, i, j))
    used: set[int] = set()
    merged: list[Cluster] = []
    for _, _, i, j in sorted(edges):
        if i in used or j in used:
            continue
        used |= {i, j}
        total = [a + b for a, b in zip(clusters[i][1], clusters[j][1], strict=True)]
        # i < j indexes clusters by smallest position, so i is the canonical child 2j
        merged.append((clusters[i][0], total, (clusters[i][2], clusters[j][2])))
    return merged


def walk(tree: object) -> list[int]:
    """The positions of a tree from its first leaf to its last."""
    if isinstance(tree, tuple):
        return walk(tree[0]) + walk(tree[1])
    assert isinstance(tree, int)
    return [tree]


def invert(permutation: Sequence[int]) -> list[int]:
    """The inverse of a permutation of 0..n-1."""
    inverse = [-1] * len(permutation)
    for index, value in enumerate(permutation):
        inverse[value] = index
    return inverse


def greedy_leaves(latents_NC: NDArray[np.floating]) -> list[int]:
    """Alg. 1: greedy pairs on the lattice, reindexed top-down (Structure construction)."""
    clusters: list[Cluster] = [
        (position, feature, position) for position, feature in enumerate(lattice(latents_NC))
    ]
    while len(clusters) > 1:
        clusters = merge_level(clusters)
    return invert(walk(clusters[0][2]))


def merging_leaves(latents_NC: NDArray[np.floating]) -> list[int]:
    """The same tree walked from its root, of two children the one merged earlier first."""
    clusters: list[Cluster] = [
        (position, feature, position) for position, feature in enumerate(lattice(latents_NC))
    ]
    number: dict[object, int] = {position: position for position in range(len(clusters))}
    while len(clusters) > 1:
        clusters = merge_level(clusters)  # in the order in which their pairs were merged
        number |= {tree: merge for merge, (_, _, tree) in enumerate(clusters)}

    def positions(tree: object) -> list[int]:
        if not isinstance(tree, tuple):
            return walk(tree)
        return [p for child in sorted(tree, key=number.__getitem__) for p in positions(child)]

    return invert(positions(clusters[0][2]))


Keyed = tuple[tuple[int, ...], list[int], list[int]]  # key, summed feature, positions in order


def order_of_keys(latents_NC: NDArray[np.floating], leaves_N: Sequence[int]) -> list[int]:
    """Any hierarchy, of two children first the one whose pair has the lesser (d2, i xor j, i)."""
    feature_NC = lattice(latents_NC)
    clusters: list[Keyed] = [
        ((position,), feature_NC[position], [position]) for position in invert(leaves_N)
    ]
    while len(clusters) > 1:
        firsts = sorted(min(members) for _, _, members in clusters)
        index = {first: rank for rank, first in enumerate(firsts)}
        parents: list[Keyed] = []
        for pair in zip(clusters[::2], clusters[1::2], strict=True):
            i, j = sorted(index[min(members)] for _, _, members in pair)
            (_, a, before), (_, b, after) = sorted(pair)
            d2 = sum((x - y) ** 2 for x, y in zip(a, b, strict=True))
            total = [x + y for x, y in zip(a, b, strict=True)]
            parents.append(((d2, i ^ j, i), total, before + after))
        clusters = parents
    return invert(clusters[0][2])


def canonical(leaves_N: Sequence[int]) -> list[int]:
    """Child order: the child with the smallest position is 2j (Structure construction)."""

    def arrange(positions: list[int]) -> list[int]:
        if len(positions) == 1:
            return positions
        half = len(positions) // 2
        first, second = arrange(positions[:half]), arrange(positions[half:])
        return first + second if min(first) < min(second) else second + first

    return invert(arrange(invert(leaves_N)))


def label(leaf: int, stage: int, last_stage: int) -> int:
    """labels_i = leaf >> (K - i) (Structure construction, consequence)."""
    return leaf >> (last_stage - stage)


def bit_embedding(label: int, stage: int, last_stage: int) -> list[int]:
    """Eq. 6: channel j is 2 * (floor(s / 2^(i-1-j)) mod 2) below the stage, else the padding 1."""
    channels = []
    for j in range(last_stage):
        channels.append(2 * (label // 2 ** (stage - 1 - j) % 2) if j < stage else 1)
    return channels
