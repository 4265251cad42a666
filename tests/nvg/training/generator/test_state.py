"""A generator's state: micro-batches, learning rate, EMA weights."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from nvg.distributed import World
from nvg.format.base import TOKENIZER_FILE
from nvg.generator.config import GeneratorKind
from nvg.quantizer.granularity import load_quantizer
from nvg.store import Store
from nvg.training.generator.config import GeneratorTraining
from nvg.training.generator.objective import sample_example
from nvg.training.generator.state import GeneratorState
from nvg.training.generator.trainer import GeneratorTrainer
from tests.makers import tiny_recipe
from tests.nvg.store.makers import make_store
from tests.nvg.training.generator.makers import fit, shape_for

ALONE = World(0, 1, torch.device("cpu"))


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """Twelve random rows on a 4x4 grid."""
    return make_store(tmp_path / "store.vgs", rows=12)


def test_micro_batches_add_up_to_their_mean_gradient(store: Store) -> None:
    """The gradient after two of them is the mean of the gradients of each alone."""
    training = replace(tiny_recipe().generator.train, accumulate=2, batch_size=8)
    shape = shape_for(tiny_recipe().generator.content, store)

    quantizer = load_quantizer(store.read(TOKENIZER_FILE), store.geometry)

    def gradients(which: list[int]) -> list[torch.Tensor]:
        torch.manual_seed(1)
        share = 2 if len(which) == 2 else 1
        state = GeneratorState(
            GeneratorKind.CONTENT, shape, replace(training, accumulate=share), ALONE
        )
        task = GeneratorTrainer([state], store, quantizer, ALONE)
        task.training = replace(training, accumulate=2)
        task.loader.batch_size = 4
        parts = list(task.loader)[:2]
        for n in which:
            torch.manual_seed(10 + n)
            moved = parts[n].to(ALONE.device)
            drawn = sample_example(task.models, task.quantizer, moved, training)
            state.accumulate(drawn[GeneratorKind.CONTENT], n == which[-1])
        return [p.grad.clone() for p in state.model.parameters() if p.grad is not None]

    both, first, second = gradients([0, 1]), gradients([0]), gradients([1])
    for found, a, b in zip(both, first, second, strict=True):
        torch.testing.assert_close(found, (a + b) / 2, atol=1e-6, rtol=1e-4)


def test_the_rate_scales_with_the_batch(store: Store) -> None:
    """1e-4 at batch 256 is 3e-4 at the paper's 768 (A.5)."""
    shape = shape_for(tiny_recipe().generator.content, store)
    assert GeneratorState(
        GeneratorKind.CONTENT, shape, GeneratorTraining(), ALONE
    ).peak_lr == pytest.approx(3e-4)


def test_the_rate_ends_where_it_is_told(store: Store) -> None:
    """Half of ten steps at the peak, then down to a fifth: step 9 has 0.36 of the peak."""
    shape = shape_for(tiny_recipe().generator.content, store)
    training = GeneratorTraining(steps=10, warmup=0, decay_start=0.5, final_lr=0.2)
    state = GeneratorState(GeneratorKind.CONTENT, shape, training, ALONE)
    state.update(9)
    rates = [group["lr"] for group in state.optimizer.param_groups]
    assert rates == pytest.approx([0.36 * state.peak_lr] * len(rates))


@pytest.mark.parametrize(("clip", "share"), [(1.0, 0.1), (100.0, 1.0)])
def test_gradients_are_clipped(store: Store, clip: float, share: float) -> None:
    """A gradient of norm 10 becomes one of norm 1, or stays; the norm of before is told."""
    shape = shape_for(tiny_recipe().generator.content, store)
    training = GeneratorTraining(betas=(0.7, 0.8), clip=clip)
    state = GeneratorState(GeneratorKind.CONTENT, shape, training, ALONE)
    parameters = [p for p in state.model.parameters() if p.requires_grad]
    height = 10 / sum(p.numel() for p in parameters) ** 0.5
    for parameter in parameters:
        parameter.grad = torch.full_like(parameter, height)
    assert float(state.update(0)["content_norm"]) == pytest.approx(10, rel=1e-4)
    for parameter in parameters:
        found = state.optimizer.state[parameter]["exp_avg"]  # (1 - beta) of the gradient
        torch.testing.assert_close(found, torch.full_like(found, 0.3 * share * height))


@pytest.mark.thorough
@pytest.mark.parametrize(
    ("decay", "warmup"), [(0.0, True), (0.5, True), (0.9999, True), (0.5, False)]
)
def test_ema_weights_move_to_the_weights(
    store: Store, tmp_path: Path, decay: float, warmup: bool
) -> None:
    """By (1 + step) / (10 + step) at first, at most the decay; recomputed from every checkpoint."""
    steps = 5
    fit(
        store,
        tmp_path / "run",
        list(GeneratorKind),
        steps=steps,
        checkpoint_every=1,
        keep=9,
        ema=decay,
        ema_warmup=warmup,
        lr=0.1,
    )
    checkpoints = tmp_path / "run" / "checkpoints"
    weights = [
        load_file(checkpoints / f"step-{n:08d}" / "content.safetensors")
        for n in range(1, steps + 1)
    ]
    torch.manual_seed(0)
    found = load_file(tmp_path / "run" / "content-ema.safetensors")
    before = load_file(checkpoints / "step-00000001" / "content-ema.safetensors")
    for step in range(1, steps):
        share = 1 - min(decay, (1 + step) / (10 + step)) if warmup else 1 - decay
        before = {n: v + share * (weights[step][n] - v) for n, v in before.items()}
    for name, value in before.items():
        torch.testing.assert_close(found[name], value, atol=1e-6, rtol=1e-4)
    if decay == 0.0:
        assert all(torch.equal(found[n], v) for n, v in weights[-1].items())
