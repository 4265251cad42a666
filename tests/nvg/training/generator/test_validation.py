"""Held-out losses in training: measured on EMA weights, resumed exactly, acted upon."""

import json
import logging
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from nvg.distributed import World
from nvg.format.base import TOKENIZER_FILE
from nvg.generator.config import GeneratorKind
from nvg.quantizer.granularity import load_quantizer
from nvg.store import Store
from nvg.training.checkpoint import Checkpoints
from nvg.training.generator.state import GeneratorState
from nvg.training.generator.validation import History, Validation, lowest, overfitting
from nvg.training.run_dir import Run
from tests.makers import tiny_recipe
from tests.nvg.store.makers import make_store
from tests.nvg.training.generator.makers import fit, shape_for
from tests.nvg.training.makers import lines_of

ALONE = World(0, 1, torch.device("cpu"))
BOTH = list(GeneratorKind)
CONTENT = GeneratorKind.CONTENT


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """Twelve random rows to train on and six held out, on a 4x4 grid."""
    return make_store(tmp_path / "store.vgs", rows=18, val=range(12, 18))


def history_of(values: list[tuple[float, float]]) -> History:
    """Measurements every 10 steps of (training, held-out) losses of the content generator."""
    return [
        {"step": 10 * (n + 1), "train": {"content": train}, "val": {"content": val}}
        for n, (train, val) in enumerate(values)
    ]


def measured(path: Path) -> list[dict[str, Any]]:
    """The lines of held-out losses."""
    return [line for line in lines_of(path / "metrics.jsonl") if "heldout" in line]


@pytest.mark.thorough
def test_it_is_measured_on_time_and_at_the_end(store: Store, tmp_path: Path) -> None:
    """Every `val_every` steps, by default with the checkpoints, and after the last step."""
    fit(store, tmp_path / "often", BOTH, steps=5, val_every=1, checkpoint_every=2)
    fit(store, tmp_path / "default", BOTH, steps=5, checkpoint_every=2)
    assert [line["step"] for line in measured(tmp_path / "often")] == [1, 2, 3, 4, 5]
    found = measured(tmp_path / "default")
    assert [line["step"] for line in found] == [2, 4, 5]
    for split, images in (("train", 6), ("val", 6)):
        table = found[-1]["heldout"][split]
        assert table["images"] == images
        assert len(table["entropy"]) == len(table["canvas"]) == 5
        assert len(table["flow"]) == 3
        assert table["bits"] == pytest.approx(table["token_bits"] + table["structure_bits"])
        assert table["content"] == pytest.approx(
            sum(table["entropy"]) / 5 + sum(table["canvas"]) / 5, abs=1e-4
        )


@pytest.mark.thorough
def test_it_changes_nothing_of_the_training(store: Store, tmp_path: Path) -> None:
    """Losses and weights are the same however often it is measured."""
    for name, every in (("often", 1), ("seldom", 4)):
        fit(store, tmp_path / name, BOTH, val_every=every, checkpoint_every=4, val_images=2)
    curves = [
        [line for line in lines_of(tmp_path / name / "metrics.jsonl") if "loss" in line]
        for name in ("often", "seldom")
    ]
    assert curves[0] == curves[1]
    for part in BOTH:
        files = [(tmp_path / name / f"{part}.safetensors") for name in ("often", "seldom")]
        assert files[0].read_bytes() == files[1].read_bytes()


@pytest.mark.thorough
def test_resuming_keeps_the_history(store: Store, tmp_path: Path) -> None:
    """A run that is continued logs what an uninterrupted one does, and remembers all of it."""
    for name in ("whole", "parts"):
        fit(store, tmp_path / name, BOTH, steps=6, val_images=2)
    shutil.rmtree(Checkpoints(tmp_path / "parts" / "checkpoints").path(6))
    fit(store, tmp_path / "parts", BOTH, resume=True, steps=6, val_images=2)
    assert lines_of(tmp_path / "parts" / "metrics.jsonl") == lines_of(
        tmp_path / "whole" / "metrics.jsonl"
    )
    states = [Checkpoints(tmp_path / n / "checkpoints").state(6) for n in ("parts", "whole")]
    assert states[0]["heldout"] == states[1]["heldout"]
    assert [each["step"] for each in states[0]["heldout"]] == [2, 4, 6]


@pytest.mark.thorough
def test_fifty_images_are_learnt_by_heart_and_the_best_checkpoint_is_kept(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The training loss falls, the held-out loss rises, which is said once; its lowest is kept."""
    store = make_store(tmp_path / "store.vgs", rows=66, val=range(50, 66), chunk_rows=66)
    with caplog.at_level(logging.WARNING, "nvg"):
        fit(
            store,
            tmp_path / "run",
            [CONTENT],
            steps=40,
            batch_size=50,
            lr=0.05,
            ema=0.5,
            checkpoint_every=5,
            keep=1,
        )
    warnings = [text for text in caplog.messages if "by heart" in text]
    assert len(warnings) == 1
    assert "content: the held-out loss rises" in warnings[0]
    assert "use more views" in warnings[0]
    last, lines = measured(tmp_path / "run")[-1]["heldout"], measured(tmp_path / "run")
    assert last["train"]["content"] < lines[0]["heldout"]["train"]["content"]
    values = {line["step"]: line["heldout"]["val"]["content"] for line in lines}
    best = min(values, key=lambda step: values[step])
    assert values[40] > values[best]
    checkpoints = Checkpoints(tmp_path / "run" / "checkpoints")
    assert checkpoints.best() == {"content": best}
    assert checkpoints.steps() == [best, 40]


@pytest.mark.thorough
def test_patience_ends_a_training_and_a_resumed_one_stays_ended(
    store: Store, tmp_path: Path
) -> None:
    """It stops after two measurements without a lower loss; more patience goes on."""
    settings: dict[str, Any] = {"steps": 30, "lr": 2.0, "ema": 0.5, "val_images": 2}
    fit(store, tmp_path / "run", [CONTENT], patience=2, **settings)
    lines = measured(tmp_path / "run")
    values = [line["heldout"]["val"]["content"] for line in lines]
    stopped = lines[-1]["step"]
    assert stopped < 30
    assert min(values) == min(values[:-2])
    assert all(min(values[: n - 2]) > min(values[n - 2 : n]) for n in range(3, len(values)))
    assert (tmp_path / "run" / "content.safetensors").exists()
    fit(store, tmp_path / "run", [CONTENT], resume=True, patience=2, **settings)
    assert measured(tmp_path / "run")[-1]["step"] == stopped
    fit(store, tmp_path / "run", [CONTENT], resume=True, patience=0, **settings)
    assert measured(tmp_path / "run")[-1]["step"] == 30


def test_a_store_without_heldout_rows_trains_as_before(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """It is said once; nothing is measured, and the best checkpoint is by the training loss."""
    store = make_store(tmp_path / "store.vgs", rows=12)
    with caplog.at_level(logging.WARNING, "nvg"):
        fit(store, tmp_path / "run", BOTH, steps=4)
    assert [text for text in caplog.messages if "has no held-out rows" in text] != []
    assert len(caplog.messages) == 1
    assert measured(tmp_path / "run") == []
    assert list(Checkpoints(tmp_path / "run" / "checkpoints").best()) == ["loss"]


def test_the_ema_weights_are_measured(store: Store, tmp_path: Path) -> None:
    """Weights that the EMA does not know do not change what is measured, and stay as they are."""
    recipe = tiny_recipe()
    shape = shape_for(recipe.generator.content, store)
    torch.manual_seed(0)
    state = GeneratorState(CONTENT, shape, recipe.generator.train, ALONE)
    quantizer = load_quantizer(store.read(TOKENIZER_FILE), store.geometry)
    run = Run(tmp_path / "run", recipe, False, ("generator",))
    validation = Validation([state], store, quantizer, run, ALONE)
    before = validation.look(1)
    with torch.no_grad():
        for parameter in state.model.parameters():
            parameter.add_(1.0)
    kept = {name: value.clone() for name, value in state.model.state_dict().items()}
    assert validation.look(2) == before
    assert all(torch.equal(value, kept[name]) for name, value in state.model.state_dict().items())
    assert state.local.training
    with torch.no_grad():
        for value in state.ema.values():
            value.add_(0.3)
    assert validation.look(3) != before
    run.close()


def test_what_counts_as_learning_by_heart() -> None:
    """Twice in a row above the lowest by a hundredth, while the training loss is lower."""
    falling = [(2.0, 2.1), (1.5, 1.9), (1.2, 1.8)]
    assert overfitting(history_of(falling)) == []
    rising = [*falling, (1.0, 1.85), (0.8, 1.95)]
    assert overfitting(history_of(rising[:4])) == []
    (line,) = overfitting(history_of(rising))
    assert "from 1.8000 at step 30 to 1.9500" in line
    assert overfitting(history_of([*rising, (0.7, 2.0)])) == []
    assert overfitting(history_of([*rising, (2.5, 1.7), (0.7, 1.75), (0.6, 1.76)])) == []
    assert overfitting(history_of([*falling, (1.3, 1.85), (1.4, 1.95)])) == []
    assert overfitting(history_of([*falling, (1.0, 1.805), (0.9, 1.81)])) == []
    assert lowest(history_of(rising), CONTENT) == (30, 1.8)


def test_the_lines_say_where_the_loss_was_lowest(store: Store, tmp_path: Path) -> None:
    """One line a generator: the last held-out loss, and the lowest with its step."""
    recipe = replace(tiny_recipe())
    shape = shape_for(recipe.generator.content, store)
    state = GeneratorState(CONTENT, shape, recipe.generator.train, ALONE)
    quantizer = load_quantizer(store.read(TOKENIZER_FILE), store.geometry)
    run = Run(tmp_path / "run", recipe, False, ("generator",))
    validation = Validation([state], store, quantizer, run, ALONE)
    assert validation.lines() == []
    validation.history = history_of([(2.0, 1.5), (1.0, 1.75)])
    assert validation.lines() == ["content: held-out loss 1.7500, lowest 1.5000 at step 10"]
    assert json.dumps(validation.history)
