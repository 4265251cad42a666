"""Compiled search for the nearest code.

Legend: M vector of a flat list, V code, C channel, b block of codes.

A score is half the squared distance in float32, |v|^2/2 + |c|^2/2 - v.c, for four vectors and a
SIMD register of codes at a time, over blocks of the codebook that fit the L1 cache. Its error is
bounded; where several codes lie within the bound, float64 distances decide.
"""

import numpy as np

from nvg.kernels.jit import Array, kernel
from nvg.kernels.scan import TILE, minimum, score_error, scores, within

BLOCK = 256  # codes per block: 32 KiB at 32 channels
GROUP = 64  # vectors that pass over a block before the next one is loaded
OUT_OF_REACH = np.float32(np.inf)  # half square of what fills up the last block


@kernel()
def search(
    vectors: Array, blocks: Array, half_squares: Array, codes: int, top: float, nearest: Array
) -> None:
    """Index of the nearest of `codes` for each vector [M, C], into [M]; the lowest on ties.

    blocks [b, C, BLOCK] and half_squares [b, BLOCK] hold the codebook, `top` its largest |c|^2.
    """
    channels = vectors.shape[1]
    group = np.zeros((GROUP, blocks.shape[1]), np.float32)
    own, error = np.empty(GROUP, np.float32), np.empty(GROUP, np.float32)
    best, is_open = np.empty(GROUP, np.float32), np.empty(GROUP, np.bool_)
    least = np.empty((GROUP, len(blocks)), np.float32)
    score = np.empty((TILE, BLOCK), np.float32)
    for start in range(0, len(vectors), GROUP):
        count = min(GROUP, len(vectors) - start)
        for m in range(count):
            square = 0.0
            for c in range(channels):
                group[m, c] = vectors[start + m, c]
                square += np.float64(group[m, c]) * group[m, c]
            error[m] = score_error(square + top, channels)
            own[m] = square / 2 + error[m]  # no score is below zero
            best[m], is_open[m] = np.inf, True
        for b in range(len(blocks)):
            for tile in range(0, count, TILE):
                scores(group, own, tile, blocks[b], half_squares[b], 0, BLOCK, score)
                for m in range(tile, min(tile + TILE, count)):
                    low = minimum(score[m - tile], BLOCK)
                    least[m, b] = low
                    if low < best[m] - 2 * error[m]:
                        first, last = within(score[m - tile], BLOCK, low + 2 * error[m])
                        nearest[start + m] = b * BLOCK + first
                        best[m], is_open[m] = low, first != last
                    elif low <= best[m] + 2 * error[m]:
                        best[m], is_open[m] = min(best[m], low), True
        for m in range(count):
            if is_open[m]:
                limit = best[m] + 2 * error[m]
                nearest[start + m] = _decide(group[m], blocks, codes, least[m], limit)


@kernel()
def _decide(vector: Array, blocks: Array, codes: int, least: Array, limit: float) -> int:
    """The nearest code by float64 distance, channels summed in order, in the blocks left."""
    nearest, best = 0, np.inf
    exact = np.empty(BLOCK, np.float64)
    for b in range(len(blocks)):
        if least[b] > limit:  # false for NaN: an overflowed score excludes nothing
            continue
        exact[:] = 0
        for c in range(len(vector)):
            for j in range(BLOCK):
                difference = np.float64(vector[c]) - np.float64(blocks[b, c, j])
                exact[j] += difference * difference
        for j in range(min(BLOCK, codes - b * BLOCK)):
            if exact[j] < best:
                nearest, best = b * BLOCK + j, exact[j]
    return nearest
