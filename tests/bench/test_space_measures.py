"""Measures of the study of place beside latents."""

import numpy as np

from nvg.geometry import Geometry
from nvg.structure.drawn import leaves_of_regions
from tests.bench.space_measures import masks


def test_masks_are_halves_that_one_stage_holds() -> None:
    """So the first map can follow them exactly."""
    for grid in (4, 8):
        geometry = Geometry(grid)
        for mask in masks(geometry):
            leaves, stages = leaves_of_regions(mask, geometry)
            side = (leaves >= geometry.positions // 2).numpy().reshape(grid, grid)
            assert stages == 2
            assert np.array_equal(side, mask != mask[0, 0])
