"""Learning-rate schedules at their corners, and what weight decay applies to."""

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from nvg.training.optim import adamw, cosine, set_lr, wsd

light = settings(deadline=None, max_examples=50)


@pytest.mark.parametrize(
    ("step", "factor"),
    [
        (0, 1 / 1000),
        (499, 0.5),
        (999, 1.0),
        (1000, 1.0),
        (266_399, 1.0),
        (266_400, 1.0),
        (299_700, 0.55),
        (333_000, 0.1),
    ],
)
def test_wsd_at_the_papers_corners(step: int, factor: float) -> None:
    """1,000 steps of linear warm-up, constant to 80 % of 333K, linear to a tenth (A.5)."""
    assert wsd(step, 333_000, 1000, 0.8) == pytest.approx(factor, abs=1e-5)


def test_wsd_of_d24_decays_from_epoch_200_of_350() -> None:
    """Half-way through the decay, at epoch 275, the factor is 0.55 (A.5)."""
    factors = [wsd(epoch * 1000, 350_000, 1000, 200 / 350) for epoch in (199, 275, 350)]
    assert factors == pytest.approx([1.0, 0.55, 0.1])


@pytest.mark.parametrize(
    ("step", "factor"), [(0, 0.01), (49, 0.5), (99, 1.0), (100, 1.0), (600, 0.5), (1100, 0.0)]
)
def test_cosine_at_its_corners(step: int, factor: float) -> None:
    """Linear warm-up over 100 steps, then half a cosine to zero at the last step (A.5)."""
    assert cosine(step, 1100, 100) == pytest.approx(factor, abs=1e-9)


@light
@given(steps=st.integers(1, 300), warmup=st.integers(0, 100), start=st.floats(0.0, 1.0))
def test_factors_stay_in_0_to_1_and_rise_only_in_the_warm_up(
    steps: int, warmup: int, start: float
) -> None:
    """Whatever the lengths, no factor leaves (0, 1], and after the warm-up none rises."""
    for factors in (
        [wsd(step, steps, warmup, start) for step in range(steps)],
        [cosine(step, steps, warmup) for step in range(steps)],
    ):
        assert all(0 < factor <= 1 for factor in factors)
        assert all(b <= a for a, b in pairwise(factors[warmup:]))
        assert all(b > a for a, b in pairwise(factors[:warmup]))


def make_module() -> nn.Module:
    """A filter, a norm, an embedding and a frozen matrix."""
    module = nn.ModuleDict(
        {
            "conv": nn.Conv2d(2, 3, 3),
            "norm": nn.LayerNorm(3),
            "embedding": nn.Embedding(4, 3),
            "frozen": nn.Linear(3, 3).requires_grad_(False),
        }
    )
    return module


def test_decay_is_for_matrices_and_filters_only() -> None:
    """Biases and norms are not decayed; every trainable parameter is in one group, frozen none."""
    module = make_module()
    optimizer = adamw(module, 1e-3, (0.9, 0.95), 0.05)
    decay = {id(p): g["weight_decay"] for g in optimizer.param_groups for p in g["params"]}
    got = {name: decay.get(id(p)) for name, p in module.named_parameters()}
    assert got == {
        "conv.weight": 0.05,
        "conv.bias": 0.0,
        "norm.weight": 0.0,
        "norm.bias": 0.0,
        "embedding.weight": 0.05,
        "frozen.weight": None,
        "frozen.bias": None,
    }


def test_adamw_takes_rate_and_betas() -> None:
    """Both groups have the learning rate and the betas asked for."""
    optimizer = adamw(make_module(), 1e-3, (0.5, 0.9), 0.0)
    assert [(g["lr"], g["betas"]) for g in optimizer.param_groups] == [(1e-3, (0.5, 0.9))] * 2


def test_set_lr_changes_every_group() -> None:
    """The schedule's rate holds for decayed and undecayed parameters alike."""
    optimizer = adamw(make_module(), 1e-3, (0.9, 0.95), 0.05)
    set_lr(optimizer, 7e-5)
    assert [group["lr"] for group in optimizer.param_groups] == [7e-5, 7e-5]
