"""Optimal structure: no other pairing of a level costs less."""

import numpy as np
import pytest
import torch

from nvg.geometry import canonical
from nvg.structure import build_leaves
from tests.nvg.structure import reference_builders
from tests.nvg.structure.kinds import HARD, Kind


def leaves_of(latents_NC: reference_builders.Latents, builder: str) -> list[int]:
    """The leaves of one image as Python integers."""
    leaves: list[int] = build_leaves(torch.from_numpy(latents_NC)[None], builder)[0].tolist()
    return leaves


@pytest.mark.parametrize("kind", HARD)
@pytest.mark.parametrize("size", [2, 4, 8])
def test_every_level_is_the_best_of_all_matchings(kind: Kind, size: int) -> None:
    """Each level's sum of d2, then of i xor j, is the least among all perfect matchings."""
    for seed in range(6):
        latents_NC = kind(np.random.default_rng(seed), size, 3)
        leaves = leaves_of(latents_NC, "optimal")
        assert canonical(torch.tensor(leaves)).tolist() == leaves
        for points, pairs in reference_builders.levels(latents_NC, leaves):
            square = reference_builders.distances(points)
            least = min(
                reference_builders.matching_cost(square, matching)
                for matching in reference_builders.matchings(range(len(points)))
            )
            assert reference_builders.matching_cost(square, pairs) == least


@pytest.mark.parametrize("kind", HARD)
def test_the_first_level_is_never_dearer_than_greedy(kind: Kind) -> None:
    """Optimal <= greedy with 2-opt <= greedy, in the sum of d2 over the first pairs."""
    for seed, size in enumerate((16, 32)):
        latents_NC = kind(np.random.default_rng(seed), size, 4)
        costs = []
        for builder in ("optimal", "greedy+2opt", "greedy"):
            levels = reference_builders.levels(latents_NC, leaves_of(latents_NC, builder))
            points, pairs = next(levels)
            square = reference_builders.distances(points)
            costs.append(reference_builders.matching_cost(square, pairs)[0])
        assert costs == sorted(costs)


def test_a_batch_equals_its_images() -> None:
    """Errors name the shape of the whole batch, though images are built one by one."""
    latents_BNC = torch.randn(3, 8, 2, generator=torch.Generator().manual_seed(0))
    alone = [build_leaves(part, "optimal")[0].tolist() for part in latents_BNC.split(1)]
    assert build_leaves(latents_BNC, "optimal").tolist() == alone
    latents_BNC[1, 2, 0] = torch.nan
    with pytest.raises(ValueError, match="3, 8, 2"):
        build_leaves(latents_BNC, "optimal")
