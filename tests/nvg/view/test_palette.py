"""Colors of structure maps."""

import numpy as np
import pytest

from nvg.view.palette import structure_tile


@pytest.mark.parametrize("stage", range(9))
def test_every_cluster_has_its_own_colour(stage: int) -> None:
    """Up to the 256 clusters of a 16x16 grid, every label has its own color."""
    label_N = np.random.default_rng(stage).permutation(np.arange(256) % 2**stage)
    tile = structure_tile(label_N, stage, 16).reshape(256, 3)
    seen = {(int(label), tuple(pixel)) for label, pixel in zip(label_N, tile.tolist(), strict=True)}
    assert len(seen) == 2**stage
    assert len({color for _, color in seen}) == 2**stage


def test_a_structure_tile_is_in_grid_order() -> None:
    """Position 1 is to the right of position 0, position 4 below it."""
    tile = structure_tile(np.array([0, 1] + [0] * 2 + [1] + [0] * 11), 1, 4)
    assert tile.shape == (4, 4, 3)
    assert (tile[0, 1] == tile[1, 0]).all()
    assert (tile[0, 1] != tile[0, 0]).any()
