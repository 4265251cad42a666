"""The greedy builder at real sizes: 256 positions, and grids up to 4096."""

import numpy as np
import pytest

from tests.nvg.structure.cases import (
    BACKENDS,
    SAMPLED,
    assert_equal_to_reference,
    expected_leaves,
    leaves_of,
)
from tests.nvg.structure.kinds import (
    Kind,
    Latents,
    batch_of,
    duplicates,
    nearly_tied,
    normal_latents,
    offset,
    patches,
    piecewise,
    smooth,
)

SLOW = pytest.mark.slow


def drawing(rng: np.random.Generator, size: int, channels: int) -> Latents:
    """Constant runs, and noise with repeats in a quarter of the positions."""
    latents = piecewise(rng, size, channels)
    noise = normal_latents(rng, size // 8, channels)
    latents[: size // 4] = noise[rng.integers(0, len(noise), size=size // 4)]
    return latents


@pytest.mark.thorough
@pytest.mark.parametrize("kind", SAMPLED)
def test_full_size_leaves_equal_the_reference(kind: Kind) -> None:
    """Equals the reference at the paper's size, 256 positions of 32 channels."""
    assert_equal_to_reference(batch_of(kind, 7, 1, 256, 32))


@pytest.mark.thorough
def test_two_byte_leaves_equal_the_reference() -> None:
    """A K = 9 hierarchy, whose leaves pass 255, equals the reference."""
    assert_equal_to_reference(batch_of(patches, 5, 1, 512, 3))


def test_double_latents_keep_their_precision() -> None:
    """Differences that float32 could not hold still decide about double latents."""
    latents_BNC = 1e9 + np.random.default_rng(8).normal(size=(4, 64, 4))
    assert_equal_to_reference(latents_BNC)
    assert leaves_of(latents_BNC.astype(np.float32), "numba") != expected_leaves(latents_BNC)


@pytest.mark.thorough
def test_a_large_grid_equals_the_reference() -> None:
    """Equals the reference at 1024 positions, where FAISS handles some levels."""
    assert_equal_to_reference(batch_of(nearly_tied, 9, 1, 1024, 2))


@pytest.mark.thorough
@pytest.mark.parametrize(
    ("size", "channels"),
    [(1024, 32), (1024, 5), pytest.param(4096, 8, marks=SLOW), pytest.param(4096, 4, marks=SLOW)],
)
@pytest.mark.parametrize("kind", [normal_latents, drawing, offset, duplicates, smooth])
def test_backends_agree_on_large_grids(kind: Kind, size: int, channels: int) -> None:
    """Up to 64x64 positions a chain, rounds on a key matrix and FAISS give the same leaves."""
    latents_BNC = batch_of(kind, 11, 1, size, channels)
    leaves = {backend: leaves_of(latents_BNC, backend) for backend in BACKENDS}
    assert sorted(leaves["numba"][0]) == list(range(size))
    assert leaves == dict.fromkeys(BACKENDS, leaves["numba"])
