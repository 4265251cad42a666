"""Scans of one cluster against many, with bounds on their errors.

Legend: n cluster of a stage, C channel.

A scan is float32 over columns [C, n], a SIMD vector of clusters at a time. It takes differences of
integers, so its relative error is bounded: clusters within twice that bound of the minimum need an
exact integer comparison, all others are ruled out.
"""

import math
from typing import Any

import numpy as np

from nvg.kernels.jit import Array, kernel

FAR = np.float32(1e18)  # farther than any distance; its square still fits float32
UNROLL = 8  # channels per pass over the columns
LANES = 16  # columns are padded to whole SIMD vectors, so that loops have no remainder
TILE = 4  # vectors, and channels, per step of the innermost loop of `scores`
BLOCK = 128  # columns per call of `scores`: a constant, so that the compiler can unroll


@kernel()
def load(rows: Array, ids: Array, count: int, columns: Array) -> None:
    """Columns 0..count-1 from rows `ids`; the rest of the last vector is far from all."""
    for start in range(0, count, LANES):
        for c in range(rows.shape[1]):
            for j in range(start, min(start + LANES, count)):
                columns[c, j] = rows[ids[j], c]
    for j in range(count, whole_vectors(count)):
        columns[0, j] = FAR


@kernel()
def whole_vectors(count: int) -> int:
    """`count` rounded up to whole vectors."""
    return (count + LANES - 1) // LANES * LANES


@kernel("contract")
def scan(columns: Array, slot: int, count: int, distance: Array) -> None:
    """float32 squared distances from column `slot` to the first `count` columns."""
    for j in range(count):
        distance[j] = np.float32(0)
    for c in range(0, columns.shape[0], UNROLL):
        p, q, r, s = columns[c], columns[c + 1], columns[c + 2], columns[c + 3]
        t, u, v, w = columns[c + 4], columns[c + 5], columns[c + 6], columns[c + 7]
        p0, q0, r0, s0 = p[slot], q[slot], r[slot], s[slot]
        t0, u0, v0, w0 = t[slot], u[slot], v[slot], w[slot]
        for j in range(count):
            dp, dq, dr, ds = p[j] - p0, q[j] - q0, r[j] - r0, s[j] - s0
            dt, du, dv, dw = t[j] - t0, u[j] - u0, v[j] - v0, w[j] - w0
            distance[j] += ((dp * dp + dq * dq) + (dr * dr + ds * ds)) + (
                (dt * dt + du * du) + (dv * dv + dw * dw)
            )


@kernel("contract")
def scores(
    vectors: Array, own: Array, first: int, columns: Array, half_square: Array, start: int,
    count: int, score: Array,
) -> None:  # fmt: skip
    """Half squared distances of vectors first..first+3 [., C] from `count` columns, [TILE, n].

    As |v|^2/2 + |c|^2/2 - v.c, with own and half_square holding the first two: twice as fast as
    `scan`, but its error is relative to the squares, not to the distance.
    """
    stop = start + count
    row0, row1 = score[0, start:stop], score[1, start:stop]
    row2, row3 = score[2, start:stop], score[3, start:stop]
    half = half_square[start:stop]
    own0, own1, own2, own3 = own[first], own[first + 1], own[first + 2], own[first + 3]
    for j in range(count):
        row0[j], row1[j] = own0 + half[j], own1 + half[j]
        row2[j], row3[j] = own2 + half[j], own3 + half[j]
    v0, v1, v2, v3 = vectors[first], vectors[first + 1], vectors[first + 2], vectors[first + 3]
    for c in range(0, columns.shape[0], TILE):
        p, q = columns[c, start:stop], columns[c + 1, start:stop]
        r, s = columns[c + 2, start:stop], columns[c + 3, start:stop]
        p0, q0, r0, s0 = v0[c], v0[c + 1], v0[c + 2], v0[c + 3]
        p1, q1, r1, s1 = v1[c], v1[c + 1], v1[c + 2], v1[c + 3]
        p2, q2, r2, s2 = v2[c], v2[c + 1], v2[c + 2], v2[c + 3]
        p3, q3, r3, s3 = v3[c], v3[c + 1], v3[c + 2], v3[c + 3]
        for j in range(count):
            a, b, d, e = p[j], q[j], r[j], s[j]
            row0[j] = row0[j] - p0 * a - q0 * b - r0 * d - s0 * e
            row1[j] = row1[j] - p1 * a - q1 * b - r1 * d - s1 * e
            row2[j] = row2[j] - p2 * a - q2 * b - r2 * d - s2 * e
            row3[j] = row3[j] - p3 * a - q3 * b - r3 * d - s3 * e


@kernel()
def score_error(squares: float, channels: int) -> float:
    """Bound on the error of a score of two vectors, from the sum of their squares."""
    return (2 * channels + 16) * 2.0**-24 * squares


@kernel()
def scan_error(distance: float, channels: int) -> float:
    """Bound on how far a scanned distance, or a sum of four, may lie from the exact one.

    C + 3 roundings of a sum of squares; and a coordinate above 2^24 may itself be off by one, so a
    difference by two.
    """
    rounding = (2 * channels + 16) * 2.0**-24 * distance
    return rounding + 8 * math.sqrt(channels * distance) + 16 * channels


@kernel()
def exact_distance(rows: Array, a: int, b: int) -> Any:
    """Exact squared distance of two clusters."""
    total = np.int64(0)
    for c in range(rows.shape[1]):
        difference = np.int64(rows[a, c] - rows[b, c])
        total += difference * difference
    return total


@kernel()
def minimum(values: Array, count: int) -> Any:
    """Least of non-negative float32 values: their bits order like integers, which vectorise."""
    bits = values.view(np.int32)
    least = bits[0]
    for j in range(count):
        least = min(least, bits[j])
    found = np.int32(least)
    return found.view(np.float32)


@kernel()
def within(values: Array, count: int, limit: Any) -> tuple[Any, Any]:
    """First and last index of the values up to `limit`."""
    first, last = np.int32(count), np.int32(-1)
    for j in range(np.int32(count)):
        first = min(first, np.int32(j) if values[j] <= limit else np.int32(count))
        last = max(last, np.int32(j) if values[j] <= limit else np.int32(-1))
    return first, last
