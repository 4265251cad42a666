"""Compiled range of every channel of an image, the first look at latents on a CPU.

Legend: B image, N position, C latent channel.

torch would do, but its threads go on spinning for milliseconds and take the cores from the kernels
that follow.
"""

from typing import Any

import numpy as np

from nvg.kernels.jit import kernel

Array = np.ndarray[Any, Any]

ROWS = 8  # positions looked at together: long enough for vectors


@kernel()
def channel_extremes(latents: Array, low: Array, high: Array) -> None:
    """Least and largest value of every channel of latents [B, N, C], into [B, C].

    NaN where a channel holds NaN or Inf.
    """
    batch, positions, channels = latents.shape
    step = min(positions, ROWS) * channels
    for b in range(batch):
        values = latents[b].reshape(-1)
        least, largest = values[:step].copy(), values[:step].copy()
        odd = np.zeros(step, latents.dtype)
        for start in range(0, len(values), step):
            for j in range(step):
                value = values[start + j]
                least[j] = value if value < least[j] else least[j]
                largest[j] = value if value > largest[j] else largest[j]
                odd[j] += value - value  # NaN unless finite
        low[b], high[b] = least[:channels], largest[:channels]
        for j in range(channels, step):
            c = j % channels
            low[b, c], high[b, c] = min(low[b, c], least[j]), max(high[b, c], largest[j])
            odd[c] += odd[j]
        for c in range(channels):
            low[b, c] += odd[c]
            high[b, c] += odd[c]
