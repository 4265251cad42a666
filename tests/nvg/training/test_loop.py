"""The run directory, the loop, and what signals and kill -9 leave behind."""

import json
import shutil
import signal
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from typer.testing import CliRunner

from cli.app import app
from nvg.config import dump
from nvg.training.autoencoder.config import AutoencoderTraining
from nvg.training.checkpoint import Checkpoints
from nvg.training.loop import train_loop
from nvg.training.run_dir import Run
from tests.makers import tiny_recipe, write_image_folder
from tests.nvg.store.makers import make_store
from tests.nvg.training.makers import DECISIVE, Counting, lines_of
from tests.processes import Forked

STEPS = 80


def seeded_loop(
    run: Run,
    steps: int,
    upto: int | None = None,
    every: int = 4,
    losses: dict[int, float] | None = None,
) -> list[float]:
    """A loop whose step draws one number; stops by KeyboardInterrupt before step `upto`."""
    task = Counting(upto, losses)
    run.begin(start := run.start_step())
    config = AutoencoderTraining(steps=steps, seed=3, log_every=3, checkpoint_every=every)
    train_loop(run, config, start, iter(range(start, steps)), task, "test")
    return task.drawn


def test_the_loop_logs_the_mean_of_each_window(tmp_path: Path) -> None:
    """Every third step and the last one: the mean since the line before."""
    run = Run(tmp_path, tiny_recipe(), False, DECISIVE)
    seeded_loop(run, 8)
    expected = [(3, 1.0), (6, 4.0), (8, 6.5)]
    assert [(line["step"], line["value"]) for line in lines_of(run.metrics_path)] == expected


@pytest.mark.parametrize(("reading", "computing"), [(1, 0), (0, 1), (1, 3)])
def test_the_loop_says_how_much_of_the_time_waits_for_data(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, reading: int, computing: int
) -> None:
    """The seconds of reading among those of reading and of steps, by a clock that these move."""
    clock = [0]
    monkeypatch.setattr(time, "perf_counter", lambda: clock[0])

    class Slow(Counting):
        def step(self, number: int, batch: int) -> dict[str, torch.Tensor]:
            clock[0] += computing
            return super().step(number, batch)

    def read(number: int) -> int:
        clock[0] += reading
        return number

    run = Run(tmp_path, tiny_recipe(), False, DECISIVE)
    config = AutoencoderTraining(steps=4, log_every=2, checkpoint_every=4)
    train_loop(run, config, 0, map(read, range(4)), Slow(), "test")
    lines = run.metrics_path.read_text().splitlines()
    waits = [json.loads(line)["data_wait"] for line in lines]
    assert waits == [reading / (reading + computing)] * 2


def test_the_loop_keeps_the_newest_checkpoints_and_the_best(tmp_path: Path) -> None:
    """Every fourth step and the last one; the newest two stay, and the one of the lowest loss."""
    run = Run(tmp_path, tiny_recipe(), False, DECISIVE)
    seeded_loop(run, 14)
    assert run.checkpoints.steps() == [4, 12, 14]
    assert run.checkpoints.best() == {"loss": 4}
    (run.checkpoints.path(4) / "state.json").write_text("damaged")
    assert run.checkpoints.best() == {"loss": 12}


def test_the_loop_keeps_the_checkpoints_of_the_lowest_heldout_losses(tmp_path: Path) -> None:
    """Of each name on its own; a checkpoint that was not measured is none of them."""
    run = Run(tmp_path, tiny_recipe(), False, DECISIVE)
    seeded_loop(run, 20, every=2, losses={4: 1.0, 8: 3.0, 12: 2.0, 20: 1.5})
    assert run.checkpoints.steps() == [4, 8, 18, 20]
    assert run.checkpoints.state(8)["scores"] == {"one": 3.0, "other": -3.0}
    best = run.checkpoints.best()
    assert (best["one"], best["other"]) == (4, 8)


def test_a_checkpoint_of_an_older_version_has_its_training_loss(tmp_path: Path) -> None:
    """It was written as `score`."""
    run = Run(tmp_path, tiny_recipe(), False, DECISIVE)
    seeded_loop(run, 8)
    for step, score in ((4, 1.0), (8, None)):
        path = run.checkpoints.path(step) / "state.json"
        state = json.loads(path.read_text())
        del state["scores"]
        path.write_text(json.dumps(state | {"score": score}))
    assert run.checkpoints.best() == {"loss": 4}


def test_a_training_ends_when_its_task_has_converged(tmp_path: Path) -> None:
    """After the measurement that shows it, with a line and a checkpoint; resuming does nothing."""
    run = Run(tmp_path, tiny_recipe(), False, DECISIVE)
    task = Counting(losses={5: 1.0})
    task.converged_at = 5
    config = AutoencoderTraining(steps=9, seed=3, log_every=3, checkpoint_every=4)
    train_loop(run, config, 0, iter(range(9)), task, "test")
    assert len(task.drawn) == 5
    assert run.checkpoints.steps() == [4, 5]
    assert [line["step"] for line in lines_of(run.metrics_path)] == [3, 5]
    train_loop(run, config, 5, iter(range(5, 9)), task, "test")
    assert len(task.drawn) == 5


@pytest.mark.parametrize("upto", [1, 4, 5, 9])
def test_a_resumed_loop_draws_and_logs_what_an_uninterrupted_one_does(
    tmp_path: Path, upto: int
) -> None:
    """Random numbers and windows of logging do not depend on where the run was cut."""
    whole = Run(tmp_path / "whole", tiny_recipe(), False, DECISIVE)
    drawn = seeded_loop(whole, 10)
    cut = Run(tmp_path / "cut", tiny_recipe(), False, DECISIVE)
    with pytest.raises(KeyboardInterrupt):
        seeded_loop(cut, 10, upto)
    again = seeded_loop(Run(tmp_path / "cut", tiny_recipe(), True, DECISIVE), 10)
    assert again == drawn[-len(again) :]
    assert len(again) == 10 - upto // 4 * 4
    assert lines_of(cut.metrics_path) == lines_of(whole.metrics_path)


def test_no_writer_of_tensorboard_outlives_an_error(tmp_path: Path) -> None:
    """Its thread ends with the training, in a program that goes on."""
    run = Run(tmp_path, tiny_recipe(), False, DECISIVE)
    with pytest.raises(KeyboardInterrupt):
        seeded_loop(run, 10, 5)
    assert list(tmp_path.glob("tensorboard/events*"))
    assert [each for each in threading.enumerate() if "Writer" in type(each).__name__] == []


@dataclass(frozen=True)
class Job:
    """A training verb on prepared input."""

    verb: str
    recipe: Path
    inputs: tuple[str, ...]
    results: tuple[str, ...]

    def arguments(self, out: Path, *more: str) -> list[str]:
        return ["train", self.verb, str(self.recipe), *self.inputs, "--out", str(out), *more]

    def finish(self, out: Path, *more: str) -> None:
        """Run to the end in this process."""
        result = CliRunner().invoke(app, self.arguments(out, *more))
        assert result.exit_code == 0, result.stderr

    def start(self, out: Path) -> Forked:
        """The same in a process of its own."""
        return Forked("cli.app", *self.arguments(out))

    def check_equal(self, one: Path, other: Path) -> None:
        """Both runs ended with the same weights, to the bit, and the same log."""
        for name in self.results:
            first, second = load_file(one / name), load_file(other / name)
            assert first.keys() == second.keys()
            assert [key for key in first if not torch.equal(first[key], second[key])] == []
        assert lines_of(one / "metrics.jsonl") == lines_of(other / "metrics.jsonl")


@pytest.fixture(scope="module", autouse=True)
def _one_thread() -> Iterator[None]:
    """Sums in one order, here as in the processes that are interrupted."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Job, Path]]:
    """Both jobs and, for each, the directory of an uninterrupted run."""
    root = tmp_path_factory.mktemp("whole")
    write_image_folder(root / "images")
    make_store(root / "store.vgs", rows=10)
    base = tiny_recipe(root / "images")
    often: dict[str, Any] = {"steps": STEPS, "log_every": 1, "checkpoint_every": 7}
    tokenizer = replace(base.autoencoder, train=replace(base.autoencoder.train, **often))
    generator = replace(base.generator, train=replace(base.generator.train, **often))
    dump(replace(base, autoencoder=tokenizer, generator=generator), root / "recipe.toml")
    names = ("content.safetensors", "structure.safetensors")
    store = ("--store", str(root / "store.vgs"))
    jobs = [
        Job("autoencoder", root / "recipe.toml", (), ("autoencoder.safetensors",)),
        Job("generator", root / "recipe.toml", store, names),
    ]
    for job in jobs:
        job.finish(root / job.verb)
    return {job.verb: (job, root / job.verb) for job in jobs}


def stop_midway(job: Job, out: Path, number: int) -> tuple[int, str]:
    """Send a signal after the second checkpoint; returns exit code and stderr."""
    process = job.start(out)
    checkpoints = Checkpoints(out / "checkpoints")
    deadline = time.monotonic() + 120
    while len(checkpoints.steps()) < 2 and process.returncode is None:
        assert time.monotonic() < deadline, "no checkpoint after two minutes"
        time.sleep(0.005)
    process.send_signal(number)
    return process.wait(120), process.said()[1]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("verb", "number"),
    [
        ("autoencoder", signal.SIGINT),
        ("generator", signal.SIGTERM),
        ("autoencoder", signal.SIGUSR1),
        ("generator", signal.SIGHUP),
    ],
)
def test_a_signal_saves_the_step_and_resume_ends_bit_equal(
    whole: dict[str, tuple[Job, Path]], tmp_path: Path, verb: str, number: int
) -> None:
    """Exit 128 + the signal, one line, a checkpoint of the very step; --resume ends as if nothing
    had happened."""
    job, uninterrupted = whole[verb]
    code, stderr = stop_midway(job, tmp_path / "run", number)
    assert code == 128 + number
    said = [line for line in stderr.replace("\r", "\n").splitlines() if "nvgctl" in line]
    assert len(said) == 1
    assert "--resume" in said[0]
    assert "Traceback" not in stderr
    steps = Checkpoints(tmp_path / "run" / "checkpoints").steps()
    assert steps[-1] == lines_of(tmp_path / "run" / "metrics.jsonl")[-1]["step"] < STEPS
    job.finish(tmp_path / "run", "--resume")
    job.check_equal(tmp_path / "run", uninterrupted)


@pytest.mark.slow
@pytest.mark.parametrize("verb", ["autoencoder", "generator"])
def test_kill_9_loses_only_the_steps_since_the_checkpoint(
    whole: dict[str, tuple[Job, Path]], tmp_path: Path, verb: str
) -> None:
    """Killed at any point, the run is resumed from its checkpoint and ends bit-equal."""
    job, uninterrupted = whole[verb]
    code, _ = stop_midway(job, tmp_path / "run", signal.SIGKILL)
    assert code == -signal.SIGKILL
    assert not (tmp_path / "run" / job.results[0]).exists()
    job.finish(tmp_path / "run", "--resume")
    job.check_equal(tmp_path / "run", uninterrupted)


@pytest.mark.slow
@pytest.mark.parametrize("verb", ["autoencoder", "generator"])
def test_a_finished_run_is_resumed_to_itself(
    whole: dict[str, tuple[Job, Path]], tmp_path: Path, verb: str
) -> None:
    """--resume on a finished run trains nothing and leaves the same weights and log."""
    job, uninterrupted = whole[verb]
    shutil.copytree(uninterrupted, tmp_path / "run")
    job.finish(tmp_path / "run", "--resume")
    job.check_equal(tmp_path / "run", uninterrupted)
