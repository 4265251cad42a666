"""Learning-rate schedules at their corners, and what weight decay applies to."""

from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn.utils.parametrizations import spectral_norm

from nvg.training.optim import adamw, cosine, ema_update, set_lr, wsd

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


@pytest.mark.parametrize(
    ("step", "factor"),
    [(0, 0.005), (50, 0.5025), (99, 0.99005), (100, 1.0), (900, 0.7), (1000, 0.4)],
)
def test_wsd_may_start_and_end_elsewhere(step: int, factor: float) -> None:
    """Linear from 0.005 to 1 over 100 steps, and from 80 % on down to 0.4."""
    assert wsd(step, 1000, 100, 0.8, 0.005, 0.4) == pytest.approx(factor)


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


@pytest.mark.parametrize(("every", "epochs"), [(1, 30), (7, 5), (5005, 2)])
def test_a_cosine_by_epoch_is_that_of_torch(every: int, epochs: int) -> None:
    """CosineAnnealingLR, stepped once an epoch: constant within one, no warm-up."""
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=1.0)
    theirs = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs)
    for epoch in range(epochs):
        (rate,) = theirs.get_last_lr()
        for step in (epoch * every, epoch * every + every // 2, (epoch + 1) * every - 1):
            assert cosine(step, every * epochs, 0, every) == pytest.approx(rate, abs=1e-12)
        optimizer.step()
        theirs.step()


@light
@given(
    steps=st.integers(1, 300),
    warmup=st.integers(0, 60),
    every=st.integers(1, 90),
    begin=st.integers(0, 60),
)
def test_a_held_cosine_moves_at_multiples_only(
    steps: int, warmup: int, every: int, begin: int
) -> None:
    """There it is where the free one is; a start that is late is a shorter schedule."""
    for step in range(begin, begin + steps):
        found = cosine(step, begin + steps, warmup, every, begin)
        held = max(step // every * every - begin, warmup)
        free = cosine(step - begin if step - begin < warmup else held, steps, warmup)
        assert found == free


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
    """A filter, a norm, an embedding, a spectral matrix, a frozen one and a learnt table."""
    module = nn.ModuleDict(
        {
            "conv": nn.Conv2d(2, 3, 3),
            "norm": nn.LayerNorm(3),
            "embedding": nn.Embedding(4, 3),
            "spectral": spectral_norm(nn.Linear(3, 3, bias=False)),
            "frozen": nn.Linear(3, 3).requires_grad_(False),
        }
    )
    module.register_parameter("table", nn.Parameter(torch.zeros(2, 3)))
    return module


def test_decay_is_for_matrices_and_filters_only() -> None:
    """Not for biases, norms and tables; every trainable parameter is in one group, frozen none."""
    module = make_module()
    optimizer = adamw(module, 1e-3, (0.9, 0.95), 0.05)
    decay = {id(p): g["weight_decay"] for g in optimizer.param_groups for p in g["params"]}
    got = {name: decay.get(id(p)) for name, p in module.named_parameters()}
    assert got == {
        "conv.weight": 0.05,
        "conv.bias": 0.0,
        "norm.weight": 0.0,
        "norm.bias": 0.0,
        "embedding.weight": 0.0,
        "spectral.parametrizations.weight.original": 0.05,
        "table": 0.0,
        "frozen.weight": None,
        "frozen.bias": None,
    }


def test_parameters_keep_their_numbers() -> None:
    """A checkpoint's state is by number: first all of two dimensions and more, then the others."""
    module = make_module()
    optimizer = adamw(module, 1e-3, (0.9, 0.95), 0.05)
    found = [id(p) for group in optimizer.param_groups for p in group["params"]]
    trained = [p for p in module.parameters() if p.requires_grad]
    assert found == [id(p) for p in sorted(trained, key=lambda p: p.ndim <= 1)]


def test_adamw_takes_rate_and_betas() -> None:
    """All groups have the learning rate and the betas asked for."""
    optimizer = adamw(make_module(), 1e-3, (0.5, 0.9), 0.0)
    assert {(g["lr"], g["betas"]) for g in optimizer.param_groups} == {(1e-3, (0.5, 0.9))}


def test_set_lr_changes_every_group() -> None:
    """The schedule's rate holds for decayed and undecayed parameters alike."""
    optimizer = adamw(make_module(), 1e-3, (0.9, 0.95), 0.05)
    set_lr(optimizer, 7e-5)
    assert {group["lr"] for group in optimizer.param_groups} == {7e-5}


@pytest.mark.parametrize(
    ("step", "decay", "warmup", "kept"),
    [
        (0, 0.9999, True, 0.1),
        (10, 0.9999, True, 0.55),
        (10, 0.5, True, 0.5),
        (0, 0.9999, False, 0.9999),
        (0, 0.0, False, 0.0),
    ],
)
def test_ema_weights_keep_a_fraction_of_what_they_were(
    step: int, decay: float, warmup: bool, kept: float
) -> None:
    """The decay, or with warm-up at most (1 + step) / (10 + step); whole numbers stay."""
    ema = {"weight": torch.tensor([2.0, -1.0]), "count": torch.tensor(3)}
    weights = {"weight": torch.tensor([4.0, 5.0]), "count": torch.tensor(8)}
    ema_update(ema, weights, step, decay, warmup)
    expected = [kept * 2 + (1 - kept) * 4, kept * -1 + (1 - kept) * 5]
    assert ema["weight"].tolist() == pytest.approx(expected, abs=1e-6)
    assert int(ema["count"]) == 3


@pytest.mark.parametrize("warmup", [True, False])
def test_ema_weights_are_a_weighted_sum_of_all_steps(warmup: bool) -> None:
    """Against the sum of the past, added up anew; without warm-up the decay is the same always."""
    generator = torch.Generator().manual_seed(0)
    past = [torch.randn(5, generator=generator) for _ in range(30)]
    ema = {"weight": past[0].clone(), "count": torch.tensor(7)}
    for step, value in enumerate(past[1:]):
        ema_update(ema, {"weight": value, "count": torch.tensor(step)}, step, 0.9, warmup)
    share, expected = 1.0, torch.zeros(5, dtype=torch.float64)
    for step in reversed(range(29)):
        decay = min(0.9, (1 + step) / (10 + step)) if warmup else 0.9
        expected += share * (1 - decay) * past[step + 1].double()
        share *= decay
    expected += share * past[0].double()
    torch.testing.assert_close(ema["weight"].double(), expected, atol=1e-6, rtol=0)
    assert int(ema["count"]) == 7


def test_ema_weights_move_fast_at_first_unless_told_otherwise() -> None:
    """By default step 0 keeps a tenth."""
    for options, kept in (((), 0.1), ((True,), 0.1), ((False,), 0.999)):
        ema = {"weight": torch.ones(1)}
        ema_update(ema, {"weight": torch.zeros(1)}, 0, 0.999, *options)
        assert float(ema["weight"]) == pytest.approx(kept)
