"""Positions beside latents again, slow and obvious: Python integers and the formula in the guide.

Nothing here imports nvg: the tests hold the fast module against these functions.
Shape letters: N position, C latent channel.
"""

import math
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from tests.nvg.structure import reference


def places(positions: int) -> list[tuple[int, int]]:
    """Twice the row and the column of every position, from the middle of the grid."""
    high = 2 ** (reference.log2(positions) // 2)
    wide = positions // high
    return [(2 * y - high + 1, 2 * x - wide + 1) for y in range(high) for x in range(wide)]


def spread(latents_NC: NDArray[np.floating]) -> float:
    """Root of the mean squared distance from the channel's mean; 1 where that is 0."""
    points = reference.lattice(latents_NC)
    columns = list(zip(*points, strict=True))
    count = len(points)
    total = sum(count * sum(x * x for x in column) - sum(column) ** 2 for column in columns)
    if total == 0:
        return 1.0
    largest = max(max(column) - (max(column) + min(column)) / 2 for column in _floats(latents_NC))
    scale = reference.lattice_scale(largest, reference.lattice_bits(count, len(columns)))
    return math.sqrt(total / (count * count * len(columns))) / scale


def with_positions(latents_NC: NDArray[np.floating], weight: float) -> NDArray[np.floating]:
    """Latents and two channels of position, which are multiples of two lattice steps."""
    latents_NC = latents_NC.astype(np.float64)
    if weight == 0:
        return latents_NC
    place = places(len(latents_NC))
    mean_square = Fraction(sum(y * y + x * x for y, x in place), 2 * len(place))  # of twice one
    half_step = weight * spread(latents_NC) * math.sqrt(1 / mean_square)
    widest = max(max(y, x) for y, x in place)
    extents = [max(c) - (max(c) + min(c)) / 2 for c in _floats(latents_NC)]
    bits = reference.lattice_bits(len(place), latents_NC.shape[1] + 2)
    scale = reference.lattice_scale(max(*extents, half_step * widest), bits)
    half_step = math.floor(half_step * scale) / scale
    return np.hstack([latents_NC, half_step * np.array(place, dtype=np.float64)])


def _floats(latents_NC: NDArray[np.floating]) -> list[tuple[float, ...]]:
    return list(zip(*latents_NC.astype(np.float64).tolist(), strict=True))
