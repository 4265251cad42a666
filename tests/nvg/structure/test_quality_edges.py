"""Edge cases of the measures: no borders, oblong grids, dtypes, large offsets."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from nvg.structure import build_leaves, measure_structure
from tests.nvg.structure.kinds import KINDS, Kind
from tests.nvg.structure.reference_builders import borders, variances

# B image, N position, C latent channel, S stage
light = settings(deadline=None, max_examples=80)


@light
@given(
    seed=st.integers(0, 2**32 - 1),
    size=st.sampled_from([4, 16, 64]),
    regions=st.integers(1, 4),
    kind=st.sampled_from(KINDS),
    builder=st.sampled_from(["greedy", "greedy+2opt", "spatial"]),
)
def test_measures_equal_the_reference(
    seed: int, size: int, regions: int, kind: Kind, builder: str
) -> None:
    """Variance, recall and precision of real hierarchies, of one region or more, against loops."""
    rng = np.random.default_rng(seed)
    latents_BNC = np.stack([kind(rng, size, 3).astype(np.float64) for _ in range(2)])
    segments_BN = rng.integers(0, regions, (2, size))
    leaves_BN = build_leaves(torch.from_numpy(latents_BNC), builder)
    quality = measure_structure(
        torch.from_numpy(latents_BNC), leaves_BN, torch.from_numpy(segments_BN)
    )
    scale = float(np.square(latents_BNC).max()) + 1e-9
    expected = variances(latents_BNC, leaves_BN.tolist())
    assert quality.variance.tolist() == pytest.approx(expected, rel=1e-9, abs=1e-15 * scale)
    recall, precision = borders(leaves_BN.tolist(), segments_BN.tolist())
    assert quality.border_recall is not None
    assert quality.border_precision is not None
    assert quality.border_recall.tolist() == pytest.approx(recall)
    assert quality.border_precision.tolist() == pytest.approx(precision)


def test_recall_and_precision_are_not_the_same() -> None:
    """One corner is a region: the halves find one of its two borders with their four."""
    leaves_BN = build_leaves(torch.zeros(1, 16, 1), "spatial")
    segments_BN = torch.zeros(1, 16, dtype=torch.uint8)
    segments_BN.view(4, 4)[:2, :2] = 1
    quality = measure_structure(torch.zeros(1, 16, 1), leaves_BN, segments_BN)
    assert quality.border_recall is not None
    assert quality.border_precision is not None
    assert quality.border_recall[:3].tolist() == pytest.approx([0, 2 / 4, 1])
    assert quality.border_precision[:3].tolist() == pytest.approx([1, 2 / 4, 4 / 8])


@pytest.mark.parametrize("positions", [2, 8, 512])
def test_oblong_grids_have_variance_without_a_map(positions: int) -> None:
    """Only borders need a square grid; two-byte leaves work too."""
    latents_BNC = torch.randn(2, positions, 3, generator=torch.Generator().manual_seed(positions))
    leaves_BN = build_leaves(latents_BNC)
    explained = measure_structure(latents_BNC, leaves_BN).explained
    assert leaves_BN.dtype == (torch.uint16 if positions > 256 else torch.uint8)
    assert len(explained) == positions.bit_length()
    assert (float(explained[0]), float(explained[-1])) == (0, 1)
    assert bool((explained.diff() >= -1e-12).all())


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int16, torch.uint16, torch.bool])
def test_maps_of_any_integer_type_measure_alike(dtype: torch.dtype) -> None:
    """Only differences of labels count."""
    maps_BN = torch.tensor([[0, 1] * 8])
    latents_BNC = torch.randn(1, 16, 2, generator=torch.Generator().manual_seed(3))
    leaves_BN = build_leaves(latents_BNC)
    expected = measure_structure(latents_BNC, leaves_BN, maps_BN)
    quality = measure_structure(latents_BNC, leaves_BN, maps_BN.to(dtype))
    assert quality.border_recall is not None
    assert expected.border_recall is not None
    assert torch.equal(quality.border_recall, expected.border_recall)


def test_values_large_against_their_spread_keep_their_variance() -> None:
    """Float32 latents at 1e6 with steps of one: the variance is that of the steps."""
    steps_N = torch.arange(16, dtype=torch.float32)
    far_BNC = (1e6 + steps_N)[None, :, None]
    leaves_BN = build_leaves(far_BNC)
    variance = measure_structure(far_BNC, leaves_BN).variance.tolist()
    assert variance == measure_structure(steps_N[None, :, None], leaves_BN).variance.tolist()
    assert variance[0] == (16**2 - 1) / 12
