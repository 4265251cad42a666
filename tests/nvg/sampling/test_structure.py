"""Solvers of the flow, and halves of which a part is given."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from nvg.sampling.guidance import Solver
from nvg.sampling.structure import balanced_split, integrate
from tests.nvg.structure.cases import random_leaves

light = settings(deadline=None, max_examples=40)


@pytest.mark.parametrize(
    ("solver", "order"), [(Solver.EULER, 1), (Solver.MIDPOINT, 2), (Solver.HEUN, 2)]
)
def test_solvers_have_their_order(solver: Solver, order: int) -> None:
    """z' = z from time 1 to 0 shrinks by e; twice the steps divide the error by 2^order."""
    start = torch.ones(1, dtype=torch.float64)
    errors = [
        abs(float(integrate(lambda z, _: z, start, steps, solver)) - math.exp(-1))
        for steps in (16, 32)
    ]
    assert errors[0] / errors[1] == pytest.approx(2**order, rel=0.1)


@pytest.mark.parametrize("solver", list(Solver))
def test_a_straight_flow_needs_one_step(solver: Solver) -> None:
    """A constant velocity is integrated exactly; times run from 1 down, never below 0."""
    times: list[float] = []

    def velocity(z: torch.Tensor, time: float) -> torch.Tensor:
        times.append(time)
        return torch.full_like(z, 3.0)

    assert float(integrate(velocity, torch.ones(1), 1, solver)) == -2.0
    assert times[0] == 1.0
    assert min(times) >= 0


@light
@given(seed=st.integers(0, 10**6), share=st.floats(0.05, 0.95))
def test_given_positions_follow_their_path(seed: int, share: float) -> None:
    """Through all stages: halves stay exact, kept positions end at their leaves' labels."""
    generator = torch.Generator().manual_seed(seed)
    K, positions = 4, 16
    leaves = torch.from_numpy(random_leaves(np.random.default_rng(seed), (2,), 4).astype("int64"))
    kept = torch.rand(2, positions, generator=generator) < share
    parent = torch.zeros(2, positions, dtype=torch.int64)
    for stage in range(1, K + 1):
        bits = (leaves >> (K - stage) & 1).where(kept, -1)
        value = 2 * torch.rand(2, positions, generator=generator)
        uniform = torch.rand(2, positions, generator=generator)
        parent = balanced_split(value, parent, stage - 1, uniform, bits)
        for image in range(2):
            counts = torch.bincount(parent[image], minlength=1 << stage)
            assert counts.tolist() == [positions >> stage] * (1 << stage)
        assert torch.equal(parent[kept], (leaves >> (K - stage))[kept])


def test_without_given_positions_nothing_changes() -> None:
    """All -1 is the same as none, and canonical."""
    generator = torch.Generator().manual_seed(0)
    value, uniform = torch.rand(2, 3, 16, generator=generator)
    parent = torch.zeros(3, 16, dtype=torch.int64)
    free = balanced_split(value, parent, 0, uniform)
    assert torch.equal(balanced_split(value, parent, 0, uniform, torch.full((3, 16), -1)), free)
    assert torch.equal(free[:, 0], torch.zeros(3, dtype=torch.int64))
