"""2-opt for the pairs of one level: swap clusters while that lowers the variance.

Legend: n cluster of a stage, C channel.
"""

import numpy as np

from nvg.kernels.jit import Array, kernel
from nvg.kernels.scan import (
    FAR,
    exact_distance,
    load,
    minimum,
    scan,
    scan_error,
    whole_vectors,
    within,
)


@kernel()
def swap_pairs(
    rows: Array, n: int, columns: Array, ids: Array, distance: Array, partner: Array
) -> None:
    """2-opt: two pairs swap clusters while that lowers the sum of d2, best swap first.

    Visits pairs in order of their left cluster, then again those that have changed. Each takes its
    best swap (largest gain; ties: the first other pair, then left with left) until none gains. All
    gains are exact and the sum falls with each swap, so this ends.
    """
    pairs = n // 2
    spread, open_ = np.empty(pairs, np.int64), np.ones(pairs, np.bool_)
    k = 0
    for left in range(n):
        if partner[left] > left:
            ids[k], ids[pairs + k] = left, partner[left]
            spread[k] = exact_distance(rows, left, partner[left])
            k += 1
    load(rows, ids, n, columns)
    waiting, k = pairs, 0
    while waiting > 0:
        if open_[k]:
            other, crossed = _best_swap(k, pairs, rows, columns, ids, spread, distance)
            if other >= 0:
                _exchange(k, other, crossed, pairs, rows, columns, ids, spread)
                if not open_[other]:
                    waiting += 1
                    open_[other] = True
                continue
            open_[k] = False
            waiting -= 1
        k = (k + 1) % pairs
    for k in range(pairs):
        left, right = ids[k], ids[pairs + k]
        partner[left], partner[right] = right, left


@kernel()
def _best_swap(
    k: int, pairs: int, rows: Array, columns: Array, ids: Array, spread: Array, distance: Array
) -> tuple[int, bool]:
    """The pair with which swapping gains `k` most (-1: none), and whether left with right."""
    left, right, cost = distance[0], distance[1], distance[2]
    scan(columns, k, whole_vectors(2 * pairs), left)
    scan(columns, pairs + k, whole_vectors(2 * pairs), right)
    widest = np.float32(spread.max())
    for j in range(pairs):  # what a swap with pair j costs, above what it saves there
        straight, crossed = left[j] + right[pairs + j], left[pairs + j] + right[j]
        cost[j] = min(straight, crossed) + (widest - np.float32(spread[j]))
    cost[k] = FAR
    best, nearest, is_crossed = np.int64(0), -1, False
    room = np.float64(spread[k]) + np.float64(widest)
    error = scan_error(2 * room, rows.shape[1])
    limit = np.float32(min(np.float64(minimum(cost, pairs)), room) + 2 * error)
    first, last = within(cost, pairs, limit)
    for j in range(first, last + 1):
        if cost[j] <= limit:
            a, b, c, d = ids[k], ids[pairs + k], ids[j], ids[pairs + j]
            now = spread[k] + spread[j]
            straight_gain = now - exact_distance(rows, a, c) - exact_distance(rows, b, d)
            crossed_gain = now - exact_distance(rows, a, d) - exact_distance(rows, b, c)
            if max(straight_gain, crossed_gain) > best:
                best, nearest = max(straight_gain, crossed_gain), j
                is_crossed = crossed_gain > straight_gain
    return nearest, is_crossed


@kernel()
def _exchange(
    k: int, j: int, crossed: bool, pairs: int, rows: Array, columns: Array, ids: Array,
    spread: Array,
) -> None:  # fmt: skip
    """Pairs (a, b) and (c, d) become (a, c), (b, d), or crossed (a, d), (b, c); lefts stay less."""
    a, b, c, d = ids[k], ids[pairs + k], ids[j], ids[pairs + j]
    if crossed:
        c, d = d, c
    ids[k], ids[pairs + k] = min(a, c), max(a, c)
    ids[j], ids[pairs + j] = min(b, d), max(b, d)
    spread[k], spread[j] = exact_distance(rows, a, c), exact_distance(rows, b, d)
    for slot in (k, pairs + k, j, pairs + j):
        for channel in range(rows.shape[1]):
            columns[channel, slot] = rows[ids[slot], channel]
