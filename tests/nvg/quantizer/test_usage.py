"""How much of the codebook each stage uses, against counts by hand."""

import math

import numpy as np

from nvg.geometry import Geometry
from nvg.quantizer.usage import stage_entropy, stage_hits, stage_usage

CONTENT = np.array([[3, 0, 1, 5, 5, 5, 5], [3, 1, 0, 5, 5, 6, 7]])  # two images, stages 0..2


def test_hits_count_each_code_of_each_stage() -> None:
    """Stage i has 2^i tokens of every image."""
    hits = stage_hits(CONTENT, Geometry(2), 8)
    assert hits.tolist() == [
        [0, 0, 0, 2, 0, 0, 0, 0],
        [2, 2, 0, 0, 0, 0, 0, 0],
        [0, 0, 0, 0, 0, 6, 1, 1],
    ]


def test_usage_is_measured_by_what_can_be_reached() -> None:
    """Of 2, 4 and 8 draws, and at most the codebook."""
    assert stage_usage(stage_hits(CONTENT, Geometry(2), 8)).tolist() == [1 / 2, 2 / 4, 3 / 8]


def test_entropy_is_in_bits() -> None:
    """One code: 0, two equally often: 1; shares 6, 1, 1 of 8; no token at all: 0."""
    hits = stage_hits(CONTENT, Geometry(2), 8)
    mixed = -(0.75 * math.log2(0.75) + 0.25 * math.log2(0.125))
    np.testing.assert_allclose(stage_entropy(hits), [0, 1, mixed])
    assert stage_entropy(np.zeros((1, 8), np.int64)).tolist() == [0.0]
