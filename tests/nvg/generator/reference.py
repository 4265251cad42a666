"""Rotary embeddings again, slow and obvious: plain loops written from the paper's formulas alone.

Nothing here imports nvg.
"""

from collections.abc import Sequence

import numpy as np


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
