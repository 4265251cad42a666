"""Compiled search for the nearest codeword.

Legend: M vector of a flat list, V code, C channel, b block of codes.

A score is half the squared distance in float32, |v|^2/2 + |c|^2/2 - v.c, for four vectors and a
vector register of codewords at a time, over blocks of the codebook that stay in the first cache.
Its error has a bound; where that leaves a choice, float64 distances decide.
"""

import numpy as np

from nvg.kernels.jit import Array, kernel
from nvg.kernels.scan import TILE, minimum, score_error, scores, within

BLOCK = 256  # codewords per block: 32 KiB at 32 channels
GROUP = 64  # vectors that pass over a block before the next one is loaded
OUT_OF_REACH = np.float32(np.inf)  # half square of what fills up the last block


@kernel()
def search(
    vectors: Array, blocks: Array, half_squares: Array, codewords: int, top: float, nearest: Array
) -> None:
    """Index of the nearest of `codewords` for each vector [M, C], into [M]; the lowest on ties.

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
                nearest[start + m] = _decide(group[m], blocks, codewords, least[m], limit)


@kernel()
def _decide(vector: Array, blocks: Array, codewords: int, least: Array, limit: float) -> int:
    """The nearest codeword by float64 distance, channels summed in order, in the blocks left."""
    nearest, best = 0, np.inf
    exact = np.empty(BLOCK, np.float64)
    for b in range(len(blocks)):
        if least[b] > limit:  # false for NaN: a score that overflowed rules nothing out
            continue
        exact[:] = 0
        for c in range(len(vector)):
            for j in range(BLOCK):
                difference = np.float64(vector[c]) - np.float64(blocks[b, c, j])
                exact[j] += difference * difference
        for j in range(min(BLOCK, codewords - b * BLOCK)):
            if exact[j] < best:
                nearest, best = b * BLOCK + j, exact[j]
    return nearest
