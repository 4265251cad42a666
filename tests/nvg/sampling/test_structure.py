"""Solvers of the flow, and halves of which a part is given."""

import math
from collections import Counter

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from nvg.choices import ParentSplit, TimeGrid
from nvg.sampling.config import Solver, flow_steps
from nvg.sampling.guidance import Noise
from nvg.sampling.structure import balanced_split, integrate, split_scores
from tests.nvg.structure.kinds import random_leaves

light = settings(deadline=None, max_examples=40)


class Drawn(Noise):
    """Noise whose uniform numbers are given."""

    def __init__(self, uniform: Tensor) -> None:
        self.drawn = uniform

    def uniform(self, *shape: int) -> Tensor:
        return self.drawn


def scores(value: Tensor, uniform: Tensor, split: ParentSplit = ParentSplit.GUMBEL) -> Tensor:
    """Scores of a channel in which 0 and 2 are the bits."""
    return split_scores((value / 2).clamp(0, 1), split, Drawn(uniform))


def even_steps(count: int) -> list[tuple[float, float]]:
    """Equal steps from noise to data."""
    return flow_steps(count, 16, TimeGrid.UNIFORM)


@pytest.mark.parametrize(
    ("solver", "order"), [(Solver.EULER, 1), (Solver.MIDPOINT, 2), (Solver.HEUN, 2)]
)
def test_solvers_have_their_order(solver: Solver, order: int) -> None:
    """z' = z from time 1 to 0 shrinks by e; twice the steps divide the error by 2^order."""
    start = torch.ones(1, dtype=torch.float64)
    errors = [
        abs(float(integrate(lambda z, _: z, start, even_steps(steps), solver)) - math.exp(-1))
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

    assert float(integrate(velocity, torch.ones(1), even_steps(1), solver)) == -2.0
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
        parent = balanced_split(scores(value, uniform), parent, stage - 1, bits)
        for image in range(2):
            counts = torch.bincount(parent[image], minlength=1 << stage)
            assert counts.tolist() == [positions >> stage] * (1 << stage)
        assert torch.equal(parent[kept], (leaves >> (K - stage))[kept])


def test_without_given_positions_nothing_changes() -> None:
    """All -1 is the same as none, and canonical."""
    generator = torch.Generator().manual_seed(0)
    value, uniform = torch.rand(2, 3, 16, generator=generator)
    parent = torch.zeros(3, 16, dtype=torch.int64)
    score = scores(value, uniform)
    free = balanced_split(score, parent, 0)
    assert torch.equal(balanced_split(score, parent, 0, torch.full((3, 16), -1)), free)
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
    uniform = torch.rand(parent.shape, generator=g)
    child = balanced_split(scores(value, uniform), parent, stage)
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
    uniform = torch.rand(parent.shape, generator=g)
    child = balanced_split(scores(value, uniform), parent, stage)
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
    uniform = torch.rand(parent.shape, generator=g)
    child = balanced_split(scores(2.0 * bit, uniform), parent, stage)
    wrong = int((child != 2 * parent + (bit ^ first)).any(1).sum())
    assert wrong == 0, f"{wrong} of {batch} images leave a certain split"


@pytest.mark.parametrize("split", [ParentSplit.GUMBEL, ParentSplit.GUMBEL_ODDS])
def test_halve_draws_as_plackett_luce(split: ParentSplit) -> None:
    """Gumbel-top-2 of 4 positions is two draws without replacement, in proportion to the weight.

    A weight is the probability, or its odds. A pair and its complement make the same canonical
    split, hence the sum of both.
    """
    probability = [0.2, 0.9, 0.4, 0.7]
    odds = [p / (1 - p) for p in probability]
    weight = odds if split is ParentSplit.GUMBEL_ODDS else probability
    total, draws = sum(weight), 40_000

    def pair(a: int, b: int) -> float:
        one = weight[a] / total * weight[b] / (total - weight[a])
        return one + weight[b] / total * weight[a] / (total - weight[b])

    g = torch.Generator().manual_seed(0)
    value = 2 * torch.tensor(probability).expand(draws, -1)
    uniform = torch.rand(draws, 4, generator=g)
    root = torch.zeros(draws, 4, dtype=torch.int64)
    child = balanced_split(scores(value, uniform, split), root, 0)
    seen = Counter(tuple(row) for row in child.tolist())
    expected = {
        (0, 0, 1, 1): pair(0, 1) + pair(2, 3),
        (0, 1, 0, 1): pair(0, 2) + pair(1, 3),
        (0, 1, 1, 0): pair(0, 3) + pair(1, 2),
    }
    assert set(seen) == set(expected)
    for made, share in expected.items():
        spread = math.sqrt(share * (1 - share) / draws)
        assert abs(seen[made] / draws - share) < 4 * spread


@pytest.mark.parametrize("p", [0.0, 1e-3, 0.3, 0.5, 0.99, 1.0])
@pytest.mark.parametrize("uniform", [0.01, 0.5, 0.999])
def test_scores_of_odds_equal_the_slow_computation(p: float, uniform: float) -> None:
    """log(p / (1 - p)) plus Gumbel noise, in plain numbers; a certain bit has odds of 10^12."""
    gumbel = -math.log(-math.log(uniform))
    odds = max(p, 1e-12) / max(1 - p, 1e-12)
    (found,) = split_scores(
        torch.tensor([[p]]), ParentSplit.GUMBEL_ODDS, Drawn(torch.tensor([[uniform]]))
    ).flatten()
    assert float(found) == pytest.approx(math.log(odds) + gumbel, rel=1e-3, abs=1e-3)


@pytest.mark.parametrize("in_order", [True, False])
@pytest.mark.parametrize(("positions", "stage"), [(16, 0), (16, 2), (16, 3), (64, 1)])
def test_the_top_half_of_every_parent_gets_bit_1(
    positions: int, stage: int, in_order: bool
) -> None:
    """Of its probabilities, without noise; in order, the half of the first position is 2j."""
    parent = make_parents(0, positions, stage)
    g = torch.Generator().manual_seed(1)
    probability = torch.rand(parent.shape, generator=g)
    child = balanced_split(
        split_scores(probability, ParentSplit.TOP_HALF, Drawn(torch.empty(0))),
        parent,
        stage,
        in_order=in_order,
    )
    for image in range(len(parent)):
        expected = [0] * positions
        for j in range(1 << stage):
            members = [n for n in range(positions) if parent[image, n] == j]
            ranked = sorted(members, key=lambda n: float(probability[image, n]))
            larger = set(ranked[len(ranked) // 2 :])
            is_swapped = in_order and members[0] in larger
            for n in members:
                expected[n] = 2 * j + ((n in larger) != is_swapped)
        assert child[image].tolist() == expected


@light
@given(seed=st.integers(0, 10**6), share=st.floats(0.05, 0.95))
def test_given_positions_follow_their_path_in_any_order_of_children(
    seed: int, share: float
) -> None:
    """Where bits stay as they are, too: halves are exact and kept positions end at their leaves."""
    g = torch.Generator().manual_seed(seed)
    leaves = torch.stack([torch.randperm(16, generator=g) for _ in range(2)])
    kept = torch.rand(2, 16, generator=g) < share
    parent = torch.zeros(2, 16, dtype=torch.int64)
    for stage in range(1, 5):
        bits = (leaves >> (4 - stage) & 1).where(kept, -1)
        parent = balanced_split(torch.rand(2, 16, generator=g), parent, stage - 1, bits, False)
        for row in parent.tolist():
            assert Counter(row) == dict.fromkeys(range(1 << stage), 16 >> stage)
        assert torch.equal(parent[kept], (leaves >> (4 - stage))[kept])
