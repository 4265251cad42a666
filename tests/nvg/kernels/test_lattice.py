"""The compiled range of every channel equals numpy's; non-finite values give NaN."""

from typing import Any

import numpy as np
import pytest

from nvg.kernels.lattice import channel_extremes


def extremes(latents_BNC: np.ndarray) -> tuple[np.ndarray, np.ndarray]:  # type: ignore[type-arg]
    """Least and largest values [B, C]."""
    low_BC, high_BC = np.empty((2, len(latents_BNC), latents_BNC.shape[2]))
    for latent_NC, low_C, high_C in zip(latents_BNC, low_BC, high_BC, strict=True):
        channel_extremes(latent_NC, low_C, high_C)
    return low_BC, high_BC


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("positions", [2, 4, 8, 16, 256])
@pytest.mark.parametrize("channels", [1, 3, 32])
def test_extremes_equal_numpys(dtype: type, positions: int, channels: int) -> None:
    """For sizes below and above the block of positions."""
    rng = np.random.default_rng(positions)
    latents_BNC: Any = rng.normal(size=(5, positions, channels)).astype(dtype)
    low_BC, high_BC = extremes(latents_BNC)
    assert np.array_equal(low_BC, latents_BNC.min(1))
    assert np.array_equal(high_BC, latents_BNC.max(1))


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("position", [0, 5, 8, 15])
def test_what_is_not_finite_becomes_nan(bad: float, position: int) -> None:
    """NaN only in the channel and image of the non-finite value."""
    latents_BNC = np.random.default_rng(1).normal(size=(3, 16, 4)).astype(np.float32)
    expected = extremes(latents_BNC)
    latents_BNC[1, position, 2] = bad
    for found_BC, before_BC in zip(extremes(latents_BNC), expected, strict=True):
        assert np.argwhere(np.isnan(found_BC)).tolist() == [[1, 2]]
        assert np.array_equal(np.delete(found_BC.ravel(), 6), np.delete(before_BC.ravel(), 6))
