"""Agreement of hierarchies: itself, unrelated ones, and a case by hand."""

import numpy as np
import pytest
import torch

from nvg.geometry import Geometry
from tests.bench.agreement import chance, coherence, pair_agreement
from tests.nvg.structure.kinds import random_leaves

GEOMETRY = Geometry(8)


def test_a_map_agrees_with_itself() -> None:
    """At every stage."""
    leaves = torch.from_numpy(random_leaves(np.random.default_rng(0), (3,), 8).astype("int64"))
    assert torch.equal(pair_agreement(leaves, leaves, GEOMETRY), torch.ones(3, 7).double())


def test_unrelated_maps_agree_by_chance() -> None:
    """(m - 1) / (N - 1) for clusters of m positions."""
    one, other = (
        torch.from_numpy(random_leaves(np.random.default_rng(s), (300,), 8).astype("int64"))
        for s in (1, 2)
    )
    found = pair_agreement(one, other, GEOMETRY).mean(0)
    assert found.tolist() == pytest.approx(chance(GEOMETRY), abs=0.01)
    assert chance(GEOMETRY)[1] == 31 / 63


def test_half_of_a_split_by_hand() -> None:
    """Four positions, halves {0, 1} against {0, 2}: no pair stays together."""
    one = torch.arange(4).view(1, 4)
    other = torch.tensor([[0, 2, 1, 3]])
    found = pair_agreement(one, other, Geometry(2))
    assert found.tolist() == [[1.0, 0.0, 1.0]]


def test_coherence_by_hand() -> None:
    """Positions in order: halves, rows and so on, at last nothing together."""
    rows = torch.arange(16).view(1, 16)
    found = coherence(rows, Geometry(4))
    assert found.tolist() == pytest.approx([1.0, (1 + 2 / 3) / 2, 0.5, 1 / 3, 0.0])
