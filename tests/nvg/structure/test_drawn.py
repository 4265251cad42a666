"""Drawn regions as a hierarchy: balanced, faithful, for as many stages as they determine."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from nvg.errors import InputError
from nvg.geometry import Geometry, canonical
from nvg.structure.drawn import MIXED_FRACTION, leaves_of_regions, mixed_fraction

# D grid row or column, N position
light = settings(deadline=None, max_examples=40)


def circle(grid: int, share: float) -> np.ndarray[tuple[int, int], np.dtype[np.int64]]:
    """A disc of about that share of the area."""
    y, x = np.indices((grid, grid)) - (grid - 1) / 2
    return (np.hypot(y, x) < grid * (share / np.pi) ** 0.5).astype(np.int64)


@light
@given(grid=st.sampled_from([4, 8, 16]), regions=st.integers(2, 6), seed=st.integers(0, 10**6))
def test_any_map_gives_a_canonical_hierarchy(grid: int, regions: int, seed: int) -> None:
    """Leaves are a canonical permutation; at most R - 1 clusters of a stage are mixed."""
    picture = np.random.default_rng(seed).integers(regions, size=(grid, grid))
    picture.flat[:2] = 0, 1
    geometry = Geometry(grid)
    leaves, stages = leaves_of_regions(picture, geometry)
    assert sorted(leaves.tolist()) == list(range(geometry.positions))
    assert torch.equal(canonical(leaves), leaves)
    assert 2 <= stages <= geometry.stages
    assert mixed_fraction(leaves, picture.reshape(-1), stages - 1, geometry) <= MIXED_FRACTION
    for stage in range(geometry.stages):
        label = (leaves >> (geometry.K - stage)).numpy()
        mixed = [c for c in range(1 << stage) if len(set(picture.reshape(-1)[label == c])) > 1]
        assert len(mixed) <= regions - 1


def test_a_half_is_determined_by_one_split() -> None:
    """Left and right: two clusters at stage 1, exactly, and no stage more."""
    picture = np.repeat([[0] * 4 + [1] * 4], 8, 0)
    leaves, stages = leaves_of_regions(picture, Geometry(8))
    assert stages == 2
    assert torch.equal((leaves >> 5).view(8, 8), torch.from_numpy(picture))


@pytest.mark.parametrize(("share", "stages"), [(0.5, 2), (0.25, 3), (0.125, 4)])
def test_a_smaller_disc_needs_more_stages(share: float, stages: int) -> None:
    """An eighth of the image is a cluster at stage 3."""
    assert leaves_of_regions(circle(16, share), Geometry(16))[1] == stages


def test_a_small_disc_grows_evenly() -> None:
    """Half of the image at stage 1 is the disc and what lies around it."""
    leaves, _ = leaves_of_regions(circle(16, 0.2), Geometry(16))
    half = leaves >> 7
    with_disc = half.view(16, 16)[8, 8]
    y, x = np.indices((16, 16)) - 7.5
    away = torch.from_numpy(np.hypot(y, x)).view(-1)
    assert away[half == with_disc].max() < away[half != with_disc].max()
    assert away[half == with_disc].mean() < 0.7 * away[half != with_disc].mean()


def test_what_is_no_structure_is_refused() -> None:
    """One colour, and a photo."""
    with pytest.raises(InputError, match="has one colour on the grid"):
        leaves_of_regions(np.full((4, 4), 7), Geometry(4))
    with pytest.raises(InputError, match="has 16 regions on a grid of 16 positions"):
        leaves_of_regions(np.arange(16).reshape(4, 4), Geometry(4))
