"""Drawings: the hierarchy before anything is sampled."""

import numpy as np
import pytest

from nvg.errors import InputError
from nvg.geometry import Geometry
from pipeline.sampling.request import Drawing
from pipeline.studio.drawing import few_regions, mixed_clusters, preview
from tests.pipeline.sampling.makers import HALF

GRID = Geometry(4)


def test_a_half_determines_one_split() -> None:
    """Stage 0 mixes both regions, no later one does; later stages are sampled."""
    found = preview(Drawing(regions=tuple(HALF)), GRID)
    assert (found["stages"], found["determined"]) == (2, 2)
    assert [each["mixed"] for each in found["hierarchy"]] == [[0], [], [], [], []]
    assert [each["mixed_fraction"] for each in found["hierarchy"]] == [0.5, 0, 0, 0, 0]
    assert [each["given"] for each in found["hierarchy"]] == [True, True, False, False, False]
    assert found["hierarchy"][1]["labels"] == HALF
    assert found["regions"] == [{"region": 0, "positions": 8}, {"region": 1, "positions": 8}]


def test_numbers_of_regions_may_have_gaps() -> None:
    """As pictures have; the stages that are asked for are given."""
    regions = tuple(200 if each else 7 for each in HALF)
    found = preview(Drawing(regions=regions, stages=3), GRID)
    assert (found["stages"], found["determined"]) == (3, 2)
    assert [each["region"] for each in found["regions"]] == [7, 200]
    assert [each["clusters"] for each in found["hierarchy"]] == [1, 2, 4, 8, 16]
    assert sum(each["given"] for each in found["hierarchy"]) == 3
    with pytest.raises(InputError, match="one colour"):
        preview(Drawing(regions=(3,) * 16), GRID)


def test_clusters_of_several_regions_are_named() -> None:
    """By hand."""
    assert mixed_clusters(np.array([0, 0, 1, 1, 2, 2]), np.array([5, 6, 6, 6, 5, 7])) == [0, 2]


def test_small_regions_become_one() -> None:
    """The largest comes first; of equal ones, the lower number."""
    assert few_regions(np.array([9, 9, 9, 4, 4, 2, 2, 1]), most=8) == ([0, 0, 0, 2, 2, 1, 1, 3], 0)
    assert few_regions(np.array([9, 9, 9, 4, 4, 2, 2, 1]), most=2) == ([0, 0, 0, 1, 1, 1, 1, 1], 2)
