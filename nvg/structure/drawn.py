"""A user-drawn picture of regions -> a balanced hierarchy, as deep as it determines (B.4).

Our rule: positions are put in a line, region after region, and the line is halved recursively. So
at most R - 1 clusters of a stage hold positions of several of R regions. Two regions are ordered by
the signed distance to their border, so that a small shape grows evenly to half of the image; more
regions are ordered by label, and in each region along a Z curve. The picture determines the stages
up to the first at which nearly every position lies in a cluster of its own region; the model
samples the deeper ones.

Legend: N position, D row or column of pixels or of the grid.
"""

from typing import Any

import numpy as np
import torch
from torch import Tensor

from nvg.errors import InputError
from nvg.geometry import Geometry, canonical

MIXED_FRACTION = 0.05  # of the positions that may lie in clusters of another region

Grid = np.ndarray[Any, Any]


def leaves_of_regions(regions_DD: Grid, geometry: Geometry) -> tuple[Tensor, int]:
    """Leaves [N], int64, and how many first stages the regions determine.

    InputError when there is one region only, or there are more than positions.
    """
    regions_N = np.unique(regions_DD, return_inverse=True)[1].reshape(-1)
    count = int(regions_N.max()) + 1
    if count == 1:
        raise InputError("the structure picture has one colour on the grid: draw two regions")
    if count > geometry.positions // 2:
        raise InputError(
            f"the structure picture has {count} regions on a grid of {geometry.positions} "
            "positions: use fewer colours (a photo is no structure picture)"
        )
    order_N = _line(regions_N.reshape(regions_DD.shape), count)
    leaves = torch.empty(geometry.positions, dtype=torch.int64)
    leaves[torch.from_numpy(order_N)] = torch.arange(geometry.positions)
    leaves = canonical(leaves)
    stages = next(
        stage
        for stage in range(1, geometry.stages)
        if mixed_fraction(leaves, regions_N, stage, geometry) <= MIXED_FRACTION
    )
    return leaves, stages + 1


def mixed_fraction(leaves: Tensor, regions_N: Grid, stage: int, geometry: Geometry) -> float:
    """Fraction of positions that lie in a cluster most of which belongs to another region."""
    label_N = (leaves >> (geometry.K - stage)).numpy()
    table = np.zeros((geometry.clusters(stage), int(regions_N.max()) + 1), np.int64)
    np.add.at(table, (label_N, regions_N), 1)
    return 1 - float(table.max(1).sum()) / geometry.positions


def _line(regions_DD: Grid, count: int) -> Grid:
    """Positions in the order of the rule."""
    region_N = regions_DD.reshape(-1)
    ties = np.arange(len(region_N))
    if count == 2:
        return np.lexsort((ties, -_depth(regions_DD)))
    return np.lexsort((ties, _z_curve(len(regions_DD)), region_N))


def _depth(regions_DD: Grid) -> Grid:
    """Distance of each position to the nearest one of the other region, below 0 outside."""
    row_DD, column_DD = np.indices(regions_DD.shape)
    place_N2 = np.stack((row_DD.reshape(-1), column_DD.reshape(-1)), axis=1)
    region_N = regions_DD.reshape(-1)
    away_NN = np.hypot(*(place_N2[:, None] - place_N2[None]).transpose(2, 0, 1))
    away_NN[region_N[:, None] == region_N[None]] = np.inf
    return away_NN.min(1) * np.where(region_N == 1, 1, -1)


def _z_curve(side: int) -> Grid:
    """Rank of each position along the curve: the bits of row and column, interleaved."""
    place = np.arange(side)
    spread = np.zeros_like(place)
    for bit in range(side.bit_length()):
        spread |= ((place >> bit) & 1) << (2 * bit)
    return (2 * spread[:, None] + spread[None, :]).reshape(-1)
