"""A generator in training: micro-batches, average weights, the golden curve, and bad numbers."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from nvg.distributed import World
from nvg.errors import WorkError
from nvg.generator.config import GeneratorKind
from nvg.store import Store
from nvg.training.generator.train import GeneratorTrainer, shape_of, train_generator
from nvg.training.generator.trainer import GeneratorState
from nvg.training.run_dir import Run
from tests.makers import tiny_recipe
from tests.nvg.store.makers import make_store
from tests.nvg.training.makers import lines_of

ALONE = World(0, 1, torch.device("cpu"))
GOLDEN = Path(__file__).resolve().parents[4] / "tests/golden" / "generator_losses.txt"


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """Twelve random rows on a 4x4 grid."""
    return make_store(tmp_path / "store.vgs", rows=12)


def fit(store: Store, out: Path, resume: bool = False, **train: Any) -> None:
    """Train both tiny generators into `out`, logging every step."""
    recipe = tiny_recipe()
    settings = replace(recipe.generator.train, log_every=1, **train)
    config = replace(recipe.generator, train=settings)
    run = Run(out, tiny_recipe(generator=config), resume, ("generator",))
    train_generator(config, store, list(GeneratorKind), run)


def test_the_loss_curve_is_the_golden_one(store: Store, tmp_path: Path) -> None:
    """Twenty steps of both generators: whoever changes these numbers changes the training."""
    fit(store, tmp_path / "run", steps=20, lr=0.1)
    found = [line["loss"] for line in lines_of(tmp_path / "run" / "metrics.jsonl")]
    wanted = [float(line.split()[1]) for line in GOLDEN.read_text().splitlines()]
    assert len(found) == 20
    assert found == pytest.approx(wanted, rel=2e-4)


def test_micro_batches_add_up_to_their_mean_gradient(store: Store) -> None:
    """The gradient after two of them is the mean of the gradients of each alone."""
    training = replace(tiny_recipe().generator.train, accumulate=2, batch_size=8)
    shape = shape_of(tiny_recipe().generator.content, store)

    def gradients(which: list[int]) -> list[torch.Tensor]:
        torch.manual_seed(1)
        share = 2 if len(which) == 2 else 1
        learner = GeneratorState(
            GeneratorKind.CONTENT, shape, replace(training, accumulate=share), ALONE
        )
        learner.start(None)
        task = GeneratorTrainer([learner], store, ALONE, None)
        task.training = replace(training, accumulate=2)
        task.loader.batch_size = 4
        parts = list(task.loader)[:2]
        for n in which:
            from nvg.training.generator.objective import sample_example

            torch.manual_seed(10 + n)
            moved = parts[n].to(ALONE.device)
            drawn = sample_example(task.models, task.quantizer, moved, 0.1)[GeneratorKind.CONTENT]
            learner.accumulate(drawn, n == which[-1])
        return [p.grad.clone() for p in learner.model.parameters() if p.grad is not None]

    both, first, second = gradients([0, 1]), gradients([0]), gradients([1])
    for found, a, b in zip(both, first, second, strict=True):
        torch.testing.assert_close(found, (a + b) / 2, atol=1e-6, rtol=1e-4)


@pytest.mark.parametrize("decay", [0.0, 0.5, 0.9999])
def test_average_weights_follow_the_weights(store: Store, tmp_path: Path, decay: float) -> None:
    """By (1 + step) / (10 + step) at first, at most the decay; recomputed from every checkpoint."""
    steps = 5
    fit(store, tmp_path / "run", steps=steps, checkpoint_every=1, keep=9, ema=decay, lr=0.1)
    checkpoints = tmp_path / "run" / "checkpoints"
    weights = [
        load_file(checkpoints / f"step-{n:08d}" / "content.safetensors")
        for n in range(1, steps + 1)
    ]
    torch.manual_seed(0)
    found = load_file(tmp_path / "run" / "content-ema.safetensors")
    before = load_file(checkpoints / "step-00000001" / "content-ema.safetensors")
    for step in range(1, steps):
        share = 1 - min(decay, (1 + step) / (10 + step))
        before = {n: v + share * (weights[step][n] - v) for n, v in before.items()}
    for name, value in before.items():
        torch.testing.assert_close(found[name], value, atol=1e-6, rtol=1e-4)
    if decay == 0.0:
        assert all(torch.equal(found[n], v) for n, v in weights[-1].items())


def test_a_loss_that_is_no_number_stops_the_run(store: Store, tmp_path: Path) -> None:
    """One line with the step and the rows; no checkpoint holds anything of it."""
    with pytest.raises(WorkError, match=r"step \d+: .*loss.* at rows (\d+, )+\d+;") as caught:
        fit(store, tmp_path / "run", steps=40, lr=1e30, clip=1e30, checkpoint_every=1)
    assert "is from before" in str(caught.value)
    checkpoints = Run(
        tmp_path / "run",
        tiny_recipe(
            generator=replace(
                tiny_recipe().generator,
                train=replace(
                    tiny_recipe().generator.train,
                    log_every=1,
                    steps=40,
                    lr=1e30,
                    clip=1e30,
                    checkpoint_every=1,
                ),
            )
        ),
        True,
        ("generator",),
    ).checkpoints
    for step in checkpoints.steps():
        state = checkpoints.state(step)
        assert all(value == value for value in state["window"].values())


def test_a_batch_must_divide(store: Store) -> None:
    """Into processes and micro-batches: the line names all three numbers."""
    training = replace(tiny_recipe().generator.train, batch_size=6, accumulate=4)
    shape = shape_of(tiny_recipe().generator.content, store)
    learner = GeneratorState(GeneratorKind.CONTENT, shape, training, ALONE)
    with pytest.raises(ValueError, match="6 is not a multiple of 1 processes x 4"):
        GeneratorTrainer([learner], store, ALONE, None)
