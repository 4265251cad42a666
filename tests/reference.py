"""The method again, slow and obvious: plain loops written from the paper's formulas alone.

Nothing here imports nvg: the tests hold the fast modules against these functions.
Shape letters: N position, C latent channel, V codeword, T token, H row, W column, O output channel.
"""

from collections.abc import Callable, Sequence
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Refine = Callable[[int, Array], Array]

REFINERS = 4


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
    """The largest power of two s with s * largest <= 2^bits - 1, or 1 for a constant image."""
    if largest == 0.0:
        return 1.0
    limit, value, scale = Fraction(2**bits - 1), Fraction(largest), Fraction(1)
    while scale * value > limit:
        scale /= 2
    while 2 * scale * value <= limit:
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


def refiner_index(stage: int, last_stage: int) -> int:
    """The tick of linspace(1/12, 11/12, 4) nearest to stage / K, the higher one on a tie (VAR)."""
    first, last = Fraction(1, 12), Fraction(11, 12)
    ticks = [first + (last - first) * step / (REFINERS - 1) for step in range(REFINERS)]
    at = Fraction(stage, last_stage)
    return min(range(REFINERS), key=lambda index: (abs(ticks[index] - at), -index))


def conv3x3(grid_HWC: Array, weight_OC33: Array, bias_O: Array) -> Array:
    """A 3x3 cross-correlation with zero padding, position by position (Content construction)."""
    height, width, _ = grid_HWC.shape
    out_HWO = np.zeros((height, width, len(weight_OC33)))
    for row in range(height):
        for column in range(width):
            out_HWO[row, column] = bias_O
            for dy in (-1, 0, 1):
                for dx in (-1, 0, 1):
                    if 0 <= row + dy < height and 0 <= column + dx < width:
                        kernel_OC = weight_OC33[:, :, dy + 1, dx + 1]
                        out_HWO[row, column] += kernel_OC @ grid_HWC[row + dy, column + dx]
    return out_HWO


def phi(grid_HWC: Array, weight_OC33: Array, bias_O: Array) -> Array:
    """The refiner phi(h) = (1 - 0.5) h + 0.5 conv3x3(h) (Content construction, as in VAR)."""
    return (1 - 0.5) * grid_HWC + 0.5 * conv3x3(grid_HWC, weight_OC33, bias_O)


def nearest_code(vector_C: Array, codebook_VC: Array) -> int:
    """The nearest codeword in l2, the lowest index on ties (Content construction, Eq. 4)."""
    best, best_distance = -1, np.inf
    for index, code_C in enumerate(codebook_VC):
        distance = float(((vector_C - code_C) ** 2).sum())
        if distance < best_distance:
            best, best_distance = index, distance
    return best


def quantize(
    latents_NC: Array, leaves_N: Sequence[int], codebook_VC: Array, refine: Refine
) -> tuple[list[int], list[Array]]:
    """Eq. 4, 5: the content of every stage in order, and the canvas after every stage."""
    positions, channels = latents_NC.shape
    last_stage, grid = log2(positions), 2 ** (log2(positions) // 2)
    canvas_NC = np.zeros((positions, channels))
    content: list[int] = []
    canvases: list[Array] = []
    for stage in range(last_stage + 1):
        residual_NC = latents_NC - canvas_NC
        placed_NC = np.zeros((positions, channels))
        for cluster in range(2**stage):
            members = [
                p for p in range(positions) if label(leaves_N[p], stage, last_stage) == cluster
            ]
            average_C = sum(residual_NC[p] for p in members) / len(members)
            code = nearest_code(average_C, codebook_VC)
            content.append(code)
            for position in members:
                placed_NC[position] = codebook_VC[code]
        refined_HWC = refine(stage, placed_NC.reshape(grid, grid, channels))
        canvas_NC = canvas_NC + refined_HWC.reshape(positions, channels)
        canvases.append(canvas_NC)
    return content, canvases


def rotation_angles(ids_A: Sequence[float], dims: Sequence[int], theta: float) -> list[float]:
    """One angle per adjacent pair: id * theta^(-2p/D), axis after axis (Content generator)."""
    angles = []
    for value, width in zip(ids_A, dims, strict=True):
        for pair in range(width // 2):
            angles.append(value * theta ** (-2 * pair / width))
    return angles


def rotate(vector_E: Sequence[float], angles: Sequence[float]) -> list[float]:
    """Each adjacent pair as a complex number, turned by its angle (Content generator, RoPE)."""
    turned: list[float] = []
    for pair, angle in enumerate(angles):
        value = complex(vector_E[2 * pair], vector_E[2 * pair + 1])
        value *= complex(np.cos(angle), np.sin(angle))
        turned += [value.real, value.imag]
    return turned
