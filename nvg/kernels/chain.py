"""Compiled structure construction: a nearest-neighbor chain per image, and pair swaps.

Legend: n cluster of a stage, C channel, N position.

Under a strict order of the pairs, Alg. 1 repeatedly merges mutual nearest neighbors. A chain that
steps from a cluster to its nearest neighbor ends in such a pair, after at most 1.5 n scans per
level. Up to three steps find the nearest neighbor, each with a bound on its error: a score matrix
(on levels that fit one), a scan of differences, exact integer keys. The first almost always
decides.
"""

import math

import numpy as np

from nvg.kernels.jit import Array, kernel
from nvg.kernels.lattice import channel_extremes, frame
from nvg.kernels.scan import (
    BLOCK,
    FAR,
    LANES,
    TILE,
    UNROLL,
    exact_distance,
    load,
    minimum,
    scan,
    scan_error,
    score_error,
    scores,
    whole_vectors,
    within,
)
from nvg.kernels.swaps import swap_pairs

MATRIX = 512  # clusters of the largest level with a score matrix: 1 MiB, the L2 cache


@kernel()
def build(latents: Array, limit: float, swaps: bool, leaves: Array, scale: Array) -> None:
    """Leaves [B, N] of latents [B, N, C] on a lattice up to `limit`, and the scale of each [B].

    An image without a finite scale has no leaves.
    """
    batch, positions, channels = latents.shape
    width = (channels + UNROLL - 1) // UNROLL * UNROLL
    rows = np.zeros((positions, width), np.int32)
    columns = np.zeros((width, positions + LANES), np.float32)
    distance = np.empty((3, positions + LANES), np.float32)
    matrix = np.empty((min(positions, MATRIX), min(positions, MATRIX)), np.float32)
    ids, slots = np.empty(positions, np.int64), np.empty(positions, np.int64)
    partner, chain = np.empty(positions, np.int64), np.empty(positions + 2, np.int64)
    members, merged = np.empty(positions, np.int64), np.empty(positions, np.int64)
    low, high, middle = np.empty(channels), np.empty(channels), np.empty(channels)
    for b in range(batch):
        channel_extremes(latents[b], low, high)
        scale[b] = frame(low, high, limit, middle)
        if not math.isfinite(scale[b]):
            continue
        for i in range(positions):
            members[i] = i
            for c in range(channels):
                value = np.float64(latents[b, i, c]) - middle[c]
                rows[i, c] = np.int32(np.rint(value * scale[b]))
        n = positions
        while n > 1:
            _pair(rows, n, columns, matrix, ids, slots, chain, distance[0], partner)
            if swaps:
                swap_pairs(rows, n, columns, ids, distance, partner)
            _merge(rows, n, partner, members, merged)
            members, merged = merged, members
            n //= 2
        for label in range(positions):
            leaves[b, members[label]] = label


@kernel()
def _merge(rows: Array, n: int, partner: Array, members: Array, merged: Array) -> None:
    """Sum the rows of every pair into the first n/2 rows, and string their members together."""
    size, pair = len(members) // n, 0
    for left in range(n):
        right = partner[left]
        if right > left:
            for c in range(rows.shape[1]):
                rows[pair, c] = rows[left, c] + rows[right, c]
            for m in range(size):
                merged[2 * pair * size + m] = members[left * size + m]
                merged[(2 * pair + 1) * size + m] = members[right * size + m]
            pair += 1


@kernel()
def _pair(
    rows: Array, n: int, columns: Array, matrix: Array, ids: Array, slots: Array, chain: Array,
    distance: Array, partner: Array,
) -> None:  # fmt: skip
    """The greedy pairing of the first n rows."""
    for i in range(n):
        ids[i] = slots[i] = i
    load(rows, ids, n, columns)
    gone, error = np.zeros(n, np.float32), np.empty(n, np.float32)
    scored = LANES <= n <= MATRIX
    if scored:
        _score_all(rows, n, columns, matrix, error)
    count, depth = n, 0
    while count > 0:
        if depth == 0:
            chain[0], depth = ids[0], 1
        a, b = chain[depth - 1], -1
        if scored:
            b = _certain(matrix[a], gone, error[a], n, distance)
        if b < 0:
            b = _nearest(a, slots[a], rows, columns, ids, count, n, distance)
        if depth > 1 and chain[depth - 2] == b:
            partner[a], partner[b] = b, a
            gone[a] = gone[b] = FAR
            count = _remove(a, columns, ids, slots, count)
            count = _remove(b, columns, ids, slots, count)
            depth -= 2
        else:
            chain[depth] = b
            depth += 1


@kernel()
def _score_all(rows: Array, n: int, columns: Array, matrix: Array, error: Array) -> None:
    """Scores of the first n clusters from each other, and the error of each one's scores."""
    vectors = np.empty((n, rows.shape[1]), np.float32)
    squares, own = np.empty(n, np.float64), np.empty(n, np.float32)
    for i in range(n):
        total = np.int64(0)  # integer sums are associative, so this vectorizes
        for c in range(rows.shape[1]):
            vectors[i, c] = rows[i, c]
            total += np.int64(rows[i, c]) * np.int64(rows[i, c])
        squares[i] = total
    top = squares.max()
    half = (squares / 2).astype(np.float32)
    for i in range(n):
        error[i] = score_error(squares[i] + top, rows.shape[1])
        own[i] = squares[i] / 2 + error[i]  # no score is below zero
    for i in range(0, n, TILE):
        if n < BLOCK:
            scores(vectors, own, i, columns, half, 0, n, matrix[i : i + TILE])
        for start in range(0, n - BLOCK + 1, BLOCK):
            scores(vectors, own, i, columns, half, start, BLOCK, matrix[i : i + TILE])
    for i in range(n):
        matrix[i, i] = FAR


@kernel()
def _certain(score: Array, gone: Array, error: float, n: int, distance: Array) -> int:
    """The cluster of least score among those left, or -1 if another is too close to tell."""
    for j in range(n):
        distance[j] = score[j] + gone[j]
    first, last = within(distance, n, minimum(distance, n) + 2 * error)
    return first if first == last else -1


@kernel()
def _nearest(
    a: int, slot: int, rows: Array, columns: Array, ids: Array, count: int, n: int, distance: Array
) -> int:
    """The cluster with the least key d2 * n + (a xor b) among the columns other than `slot`."""
    width = whole_vectors(count)
    scan(columns, slot, width, distance)
    distance[slot] = FAR
    least = np.float64(minimum(distance, width))
    limit = np.float32(least + 2 * scan_error(least, rows.shape[1]))
    first, last = within(distance, width, limit)
    if first == last:
        return ids[first]
    nearest, best = -1, np.int64(1 << 62)
    for j in range(first, last + 1):
        if distance[j] <= limit:
            key = exact_distance(rows, a, ids[j]) * n + (a ^ ids[j])
            if key < best:
                nearest, best = ids[j], key
    return nearest


@kernel()
def _remove(a: int, columns: Array, ids: Array, slots: Array, count: int) -> int:
    """Take a cluster out: the last column moves into its place. Returns how many are left."""
    hole, last = slots[a], count - 1
    for c in range(columns.shape[0]):
        columns[c, hole] = columns[c, last]
    columns[0, last] = FAR
    ids[hole] = ids[last]
    slots[ids[last]] = hole
    return last
