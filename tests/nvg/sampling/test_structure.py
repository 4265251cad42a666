"""Solvers of the flow, and halves of which a part is given."""

import math
from collections import Counter

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from nvg.sampling.config import Solver
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


def make_parents(seed: int, positions: int, stage: int, batch: int = 2) -> Tensor:
    """Equal-sized parents 0..2^stage-1 in random places [B, N]."""
    g = torch.Generator().manual_seed(seed)
    run = torch.arange(positions) // (positions >> stage)
    return torch.stack([run[torch.randperm(positions, generator=g)] for _ in range(batch)])


@light
@given(
    seed=st.integers(0, 10**6),
    last=st.integers(1, 6),
    scale=st.sampled_from([0.0, 1e-6, 1.0, 100.0]),
    data=st.data(),
)
def test_halve_splits_every_parent_exactly_in_half(
    seed: int, last: int, scale: float, data: st.DataObject
) -> None:
    """Whatever the values, both children of every parent get half of its positions."""
    stage = data.draw(st.integers(0, last - 1))
    parent = make_parents(seed, 1 << last, stage)
    g = torch.Generator().manual_seed(seed)
    value = scale * torch.randn(parent.shape, generator=g) + 1
    child = balanced_split(value, parent, stage, torch.rand(parent.shape, generator=g))
    assert torch.equal(child >> 1, parent)
    half = (1 << last) >> (stage + 1)
    for row in child.tolist():
        assert Counter(row) == dict.fromkeys(range(2 << stage), half)


@light
@given(seed=st.integers(0, 10**6), last=st.integers(1, 6), data=st.data())
def test_halve_gives_the_smallest_position_to_the_even_child(
    seed: int, last: int, data: st.DataObject
) -> None:
    """Canonical order: the half that holds a parent's smallest position is child 2j."""
    stage = data.draw(st.integers(0, last - 1))
    parent = make_parents(seed, 1 << last, stage)
    g = torch.Generator().manual_seed(seed)
    value = torch.randn(parent.shape, generator=g)
    child = balanced_split(value, parent, stage, torch.rand(parent.shape, generator=g))
    for parents, children in zip(parent.tolist(), child.tolist(), strict=True):
        for j in range(1 << stage):
            assert children[parents.index(j)] == 2 * j


@pytest.mark.parametrize(("positions", "stage"), [(16, 0), (16, 3), (256, 0), (256, 2)])
def test_halve_follows_clear_balanced_bits(positions: int, stage: int) -> None:
    """Channels of exactly 0 and 2, half of each in every parent, are taken as they are."""
    batch = 1000
    parent = make_parents(0, positions, stage, batch)
    order = parent.argsort(dim=1, stable=True)
    size = positions >> stage
    g = torch.Generator().manual_seed(1)
    bits = torch.stack([torch.randperm(size, generator=g) % 2 for _ in range(batch << stage)])
    bit = torch.empty_like(parent).scatter_(1, order, bits.reshape(batch, positions))
    first = bits[:, :1].reshape(batch, -1).gather(1, parent)
    child = balanced_split(2.0 * bit, parent, stage, torch.rand(parent.shape, generator=g))
    wrong = int((child != 2 * parent + (bit ^ first)).any(1).sum())
    assert wrong == 0, f"{wrong} of {batch} images leave a certain split"


def test_halve_draws_as_plackett_luce() -> None:
    """Gumbel-top-2 of 4 positions is two draws without replacement, in proportion to the channel.

    A pair and its complement make the same canonical split, hence the sum of both.
    """
    weight = [0.2, 0.9, 0.4, 0.7]
    total, draws = sum(weight), 40_000

    def pair(a: int, b: int) -> float:
        one = weight[a] / total * weight[b] / (total - weight[a])
        return one + weight[b] / total * weight[a] / (total - weight[b])

    g = torch.Generator().manual_seed(0)
    value = 2 * torch.tensor(weight).expand(draws, -1)
    uniform = torch.rand(draws, 4, generator=g)
    child = balanced_split(value, torch.zeros(draws, 4, dtype=torch.int64), 0, uniform)
    seen = Counter(tuple(row) for row in child.tolist())
    expected = {
        (0, 0, 1, 1): pair(0, 1) + pair(2, 3),
        (0, 1, 0, 1): pair(0, 2) + pair(1, 3),
        (0, 1, 1, 0): pair(0, 3) + pair(1, 2),
    }
    assert set(seen) == set(expected)
    for split, probability in expected.items():
        spread = math.sqrt(probability * (1 - probability) / draws)
        assert abs(seen[split] / draws - probability) < 4 * spread
