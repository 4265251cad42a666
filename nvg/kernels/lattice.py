"""Compiled frame of an image on the integer lattice: midpoint per channel, one scale.

Legend: B image of a batch, N position, C channel.
"""

import math

import numpy as np

from nvg.kernels.jit import Array, kernel

ROWS = 8  # positions processed together, so that loops vectorize


@kernel()
def channel_extremes(latent: Array, low: Array, high: Array) -> None:
    """Least and largest value of every channel of an image [N, C], into [C].

    NaN where a channel holds NaN or Inf.
    """
    positions, channels = latent.shape
    step = min(positions, ROWS) * channels
    values = latent.reshape(-1)
    least, largest = values[:step].copy(), values[:step].copy()
    odd = np.zeros(step, latent.dtype)
    for start in range(0, len(values), step):
        for j in range(step):
            value = values[start + j]
            least[j] = value if value < least[j] else least[j]
            largest[j] = value if value > largest[j] else largest[j]
            odd[j] += value - value  # NaN unless finite
    low[:], high[:] = least[:channels], largest[:channels]
    for j in range(channels, step):
        c = j % channels
        low[c], high[c] = min(low[c], least[j]), max(high[c], largest[j])
        odd[c] += odd[j]
    for c in range(channels):
        low[c] += odd[c]
        high[c] += odd[c]


@kernel()
def frame(low: Array, high: Array, limit: float, middle: Array) -> float:
    """The middle of every channel's range, into [C], and the scale of the image.

    The scale is the largest power of two that float64 holds with scale * max|Z - middle| <= limit,
    1 for a constant image; NaN for an image that is not finite, Inf where the middle overflows.
    """
    extent = 0.0
    for c in range(len(low)):
        if math.isnan(low[c]):
            return np.nan
        middle[c] = (low[c] + high[c]) / 2
        if math.isinf(middle[c]):
            return np.inf
        extent = max(extent, high[c] - middle[c], middle[c] - low[c])
    if extent == 0:
        return 1.0
    part, exponent = math.frexp(extent)
    limit_part, limit_exponent = math.frexp(limit)
    power = limit_exponent - exponent - (1 if part > limit_part else 0)
    return math.ldexp(1.0, max(-1022, min(1023, power)))


@kernel()
def frames(low: Array, high: Array, limit: float, middle: Array, scale: Array) -> None:
    """`frame` of every image: low, high and middle [B, C], scale [B]."""
    for b in range(len(scale)):
        scale[b] = frame(low[b], high[b], limit, middle[b])
