"""Optimal structure at more channels, kinds and clusters than `test_matching.py` enumerates."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from nvg.structure import build_leaves
from tests.nvg.structure.cases import SAMPLED
from tests.nvg.structure.kinds import Kind, Latents, batch_of, line, normal_latents, tied
from tests.nvg.structure.reference_builders import (
    distances,
    least_matching_cost,
    levels,
    matching_cost,
)

# B image, N position, C latent channel
light = settings(deadline=None, max_examples=80)


def leaves_of(latents_NC: Latents, builder: str = "optimal") -> list[int]:
    """The leaves of one image as Python integers."""
    leaves: list[int] = build_leaves(torch.from_numpy(latents_NC)[None], builder)[0].tolist()
    return leaves


def assert_every_level_is_optimal(latents_NC: Latents) -> None:
    """No perfect matching of a level has a smaller (sum of d2, sum of i xor j)."""
    for points, pairs in levels(latents_NC, leaves_of(latents_NC)):
        square = distances(points)
        assert matching_cost(square, pairs) == least_matching_cost(square)


def first_cost(latents_NC: Latents, builder: str) -> int:
    """Sum of d2 over the pairs of leaves."""
    points, pairs = next(levels(latents_NC, leaves_of(latents_NC, builder)))
    return matching_cost(distances(points), pairs)[0]


@pytest.mark.parametrize(
    ("values", "leaves"),
    [
        # greedy takes 4-7 and 0-11, 9 + 121; the least is 0-4 and 7-11, 16 + 16
        ([0, 4, 7, 11], [0, 1, 2, 3]),
        # three matchings cost nothing: 0-1 and 2-3 have the least xor
        ([5, 5, 5, 5], [0, 1, 2, 3]),
        ([0, 9, 9, 0], [0, 2, 3, 1]),
        # equal values pair, at 0; then 0 with 1 and 2 with 3
        ([0, 1, 2, 3, 0, 1, 2, 3], [0, 2, 4, 6, 1, 3, 5, 7]),
    ],
)
def test_golden_vectors(values: list[int], leaves: list[int]) -> None:
    """Cases done by hand."""
    assert leaves_of(np.array(values, dtype=np.float32)[:, None]) == leaves


@pytest.mark.thorough
@pytest.mark.parametrize("kind", SAMPLED)
@light
@given(
    seed=st.integers(0, 2**32 - 1),
    size=st.sampled_from([2, 4, 8]),
    channels=st.integers(1, 40),
)
def test_every_level_costs_the_least(kind: Kind, seed: int, size: int, channels: int) -> None:
    """The least sum of d2, then of i xor j, for all kinds of latents."""
    assert_every_level_is_optimal(kind(np.random.default_rng(seed), size, channels))


@pytest.mark.parametrize("kind", [normal_latents, tied, line])
def test_a_level_of_16_clusters_costs_the_least(kind: Kind) -> None:
    """All two million matchings of 16 positions, and those of the levels above."""
    assert_every_level_is_optimal(batch_of(kind, 21, 1, 16, 3)[0])


def test_optimal_is_more_than_swaps() -> None:
    """Among ten random images, swaps of two pairs get stuck above the least sum at least once."""
    latents_BNC = batch_of(normal_latents, 23, 10, 32, 4)
    costs = [[first_cost(x, name) for name in ("optimal", "greedy+2opt")] for x in latents_BNC]
    assert any(least < swapped for least, swapped in costs)


@pytest.mark.parametrize("size", [2, 4, 16, 32])
def test_a_constant_image_pairs_neighbours(size: int) -> None:
    """For constant latents the xor order decides: leaf p at position p."""
    assert leaves_of(np.full((size, 2), 1e6, dtype=np.float32)) == list(range(size))
