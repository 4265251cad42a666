"""Measures of a hierarchy against loops over Python numbers."""

import numpy as np
import pytest
import torch

from nvg.structure import build_leaves, measure_structure
from tests.nvg.structure import reference_builders
from tests.nvg.structure.kinds import random_leaves

# B image, N position, C latent channel, S stage


def case(grid: int, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Random latents [3, N, 4], hierarchies [3, N] and label maps [3, N] of four regions."""
    rng = np.random.default_rng(seed)
    latents_BNC = torch.from_numpy(rng.normal(size=(3, grid * grid, 4)).astype(np.float32))
    leaves_BN = torch.from_numpy(random_leaves(rng, (3,), grid))
    return latents_BNC, leaves_BN, torch.from_numpy(rng.integers(0, 4, (3, grid * grid)))


@pytest.mark.parametrize("grid", [2, 4, 8])
def test_variance_equals_the_reference(grid: int) -> None:
    """Variance within clusters and explained fraction per stage."""
    latents_BNC, leaves_BN, _ = case(grid)
    quality = measure_structure(latents_BNC, leaves_BN)
    expected = reference_builders.variances(latents_BNC.numpy(), leaves_BN.tolist())
    assert quality.variance.tolist() == pytest.approx(expected)
    shares = [1 - value / expected[0] for value in expected]
    assert quality.explained.tolist() == pytest.approx(shares)
    assert (quality.border_recall, quality.border_precision) == (None, None)


@pytest.mark.parametrize("grid", [2, 4, 8])
def test_borders_equal_the_reference(grid: int) -> None:
    """Recall and precision of borders between neighbors per stage."""
    latents_BNC, leaves_BN, segments_BN = case(grid, seed=1)
    quality = measure_structure(latents_BNC, leaves_BN, segments_BN)
    recall, precision = reference_builders.borders(leaves_BN.tolist(), segments_BN.tolist())
    assert quality.border_recall is not None
    assert quality.border_precision is not None
    assert quality.border_recall.tolist() == pytest.approx(recall)
    assert quality.border_precision.tolist() == pytest.approx(precision)


def test_finer_stages_explain_more() -> None:
    """It rises from 0 at stage 0 to 1 at the last stage."""
    latents_BNC, _, _ = case(8)
    explained = measure_structure(latents_BNC, build_leaves(latents_BNC)).explained.tolist()
    assert explained[0] == 0
    assert explained[-1] == 1
    assert explained == sorted(explained)


def test_constant_images_are_explained_at_once() -> None:
    """For constant latents it is 1, not NaN."""
    for value, dtype in ((1.0, torch.float32), (0.1, torch.float64), (1e30, torch.float32)):
        latents_BNC = torch.full((2, 16, 3), value, dtype=dtype)
        quality = measure_structure(latents_BNC, build_leaves(latents_BNC))
        assert quality.variance.tolist() == [0] * 5
        assert quality.explained.tolist() == [1] * 5


def test_a_map_of_the_first_halves_is_met_exactly() -> None:
    """Where the regions are the clusters of stage 1, recall and precision are 1."""
    latents_BNC, _, _ = case(4)
    leaves_BN = build_leaves(latents_BNC, "spatial")
    quality = measure_structure(latents_BNC, leaves_BN, leaves_BN.long() >> 3)
    assert quality.border_recall is not None
    assert quality.border_precision is not None
    assert quality.border_recall.tolist() == [0, 1, 1, 1, 1]
    assert quality.border_precision.tolist() == pytest.approx([1, 1, 1 / 2, 4 / 16, 4 / 24])


def test_any_float_and_no_gradient() -> None:
    """Half precision is measured exactly; no graph is recorded."""
    latents_BNC, leaves_BN, _ = case(4)
    half = measure_structure(latents_BNC.half(), leaves_BN)
    assert half.variance.tolist() == pytest.approx(
        measure_structure(latents_BNC.half().float(), leaves_BN).variance.tolist()
    )
    assert not measure_structure(latents_BNC.requires_grad_(), leaves_BN).variance.requires_grad


@pytest.mark.parametrize(
    ("latents", "leaves", "segments"),
    [
        ((2, 16), (2, 16), None),
        ((2, 16, 3), (1, 16), None),
        ((2, 16, 3), (2, 16), (2, 4, 4)),
        ((2, 8, 3), (2, 8), (2, 8)),
    ],
)
def test_shapes_that_do_not_fit_are_refused(
    latents: tuple[int, ...], leaves: tuple[int, ...], segments: tuple[int, ...] | None
) -> None:
    """The error has the shapes; label maps need a square grid."""
    maps = None if segments is None else torch.zeros(segments, dtype=torch.int64)
    named = ", ".join(map(str, segments or latents))
    with pytest.raises(ValueError, match=named):
        measure_structure(torch.zeros(latents), torch.zeros(leaves, dtype=torch.uint8), maps)
