"""Measures of the study of place beside latents."""

import numpy as np
import torch

from nvg.geometry import Geometry
from nvg.structure.drawn import leaves_of_regions
from tests.bench.space_measures import masks, quadrature


def test_a_fair_coin_takes_a_bit() -> None:
    """The integral over the ideal estimate, tanh, of a bit of -1 or 1 from its noisy value."""
    generator = torch.Generator().manual_seed(0)
    bit = torch.randint(0, 2, (100_000,), generator=generator) * 2.0 - 1
    total = 0.0
    for time, weight in quadrature():
        noisy = time * torch.randn(len(bit), generator=generator) + (1 - time) * bit
        guess = torch.tanh((1 - time) * noisy / time**2)
        total += weight * float((guess - bit).square().mean())
    assert abs(total - 1) < 0.01


def test_masks_are_halves_that_one_stage_holds() -> None:
    """So the first map can follow them exactly."""
    for grid in (4, 8):
        geometry = Geometry(grid)
        for mask in masks(geometry):
            leaves, stages = leaves_of_regions(mask, geometry)
            side = (leaves >= geometry.positions // 2).numpy().reshape(grid, grid)
            assert stages == 2
            assert np.array_equal(side, mask != mask[0, 0])
