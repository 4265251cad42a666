"""What a training does while a checkpoint is being written."""

import errno
import os
import signal
import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch

import nvg.training.checkpoint
from nvg.errors import WorkError
from nvg.files import write_atomic
from nvg.training.autoencoder.config import AutoencoderTraining
from nvg.training.checkpoint import Checkpoints
from nvg.training.loop import Task, train_loop
from nvg.training.run_dir import Run
from tests.makers import tiny_recipe


class Watching(Task[int]):
    """Notes which steps were complete on the disk at each step and each copy of the weights.

    `during` is called within the step of a number.
    """

    def __init__(self, run: Run, during: dict[int, Callable[[], object]] | None = None) -> None:
        self.run, self.during = run, during or {}
        self.at_step, self.at_copy = dict[int, list[int]](), list[list[int]]()
        self.at_preview = dict[int, list[int]]()
        self.previewed: set[int] = set()

    def step(self, number: int, batch: int) -> dict[str, torch.Tensor]:
        self.during.get(number, lambda: None)()
        self.at_step[number] = self.run.checkpoints.steps()
        return {"value": torch.tensor(float("nan") if batch < 0 else 1.0)}

    def state(self) -> tuple[dict[str, bytes], dict[str, Any]]:
        self.at_copy.append(self.run.checkpoints.steps())
        return {"weights": b"w"}, {}

    def rows(self, batch: int) -> str:
        return str(batch)

    def reads_checkpoint(self, number: int) -> bool:
        return number in self.previewed

    def checkpointed(self, number: int) -> None:
        self.at_preview[number] = self.run.checkpoints.steps()


class Gate:
    """Keeps the first write of `weights` waiting until it is opened, or fails it."""

    def __init__(self, patch: pytest.MonkeyPatch, error: OSError | None = None) -> None:
        self.event, self.error, self.failed = threading.Event(), error, threading.Event()
        patch.setattr(nvg.training.checkpoint, "write_atomic", self.write)

    def write(self, path: Path, data: bytes) -> None:
        if path.name == "weights":
            if self.error:
                self.failed.set()
                raise self.error
            assert self.event.wait(20)
        write_atomic(path, data)


def new_run(folder: Path) -> Run:
    return Run(folder, tiny_recipe(), False, ("autoencoder",))


def train(run: Run, task: Watching, steps: int, batches: list[int] | None = None) -> None:
    """A checkpoint after every second step, all kept."""
    config = AutoencoderTraining(steps=steps, log_every=1, checkpoint_every=2, keep=9)
    train_loop(run, config, 0, iter(batches or range(steps)), task, "test")


def test_steps_go_on_and_the_next_copy_waits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Step 3 runs while step 2 is unwritten; the weights of step 4 are copied when it is there."""
    gate, run = Gate(monkeypatch), new_run(tmp_path)
    task = Watching(run, {3: gate.event.set})
    train(run, task, 6)
    assert task.at_step[2] == []
    assert task.at_copy[0] == []
    assert task.at_copy[1:] == [[2], [2, 4]]
    assert run.checkpoints.steps() == [2, 4, 6]


def test_a_preview_waits_for_its_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """That of step 2 does not read it, that of step 4 does."""
    gate, run = Gate(monkeypatch), new_run(tmp_path)
    task = Watching(run, {3: gate.event.set})
    task.previewed = {4}
    train(run, task, 4)
    assert task.at_preview == {2: [], 4: [2, 4]}


def test_a_full_disk_stops_the_training_at_the_next_step(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One line with the remedy; what was half written is gone."""
    run = new_run(tmp_path)
    gate = Gate(monkeypatch, OSError(errno.ENOSPC, "No space left on device"))

    def until_it_failed() -> None:
        assert gate.failed.wait(20)
        thread = run.checkpoints._background._thread
        assert thread
        thread.join()

    task = Watching(run, {2: until_it_failed})
    with pytest.raises(WorkError, match=r"step 2 .*No space left on device; make room.*--resume"):
        train(run, task, 10)
    assert list(task.at_step) in ([0, 1], [0, 1, 2])  # failed before step 2, or within it
    assert list(run.checkpoints.directory.iterdir()) == []


@pytest.mark.parametrize("steps", [2, 4])
def test_a_full_disk_is_told_at_the_end_at_the_latest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, steps: int
) -> None:
    """Also of the last checkpoint, and after a stop request: it is not saved, so it is an error."""
    run = new_run(tmp_path)
    Gate(monkeypatch, OSError(errno.ENOSPC, "No space left on device"))
    stop: dict[int, Callable[[], object]] = {}
    if steps == 4:
        stop[1] = partial(os.kill, os.getpid(), signal.SIGINT)
    with pytest.raises(WorkError, match=r"step 2 .*No space left"):
        train(run, Watching(run, stop), steps)


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM])
def test_a_stop_request_waits_for_the_write(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sent: int
) -> None:
    """The checkpoint of the step is complete when KeyboardInterrupt is raised."""
    gate, run = Gate(monkeypatch), new_run(tmp_path)

    def stop() -> None:
        threading.Timer(0.1, gate.event.set).start()
        os.kill(os.getpid(), sent)

    task = Watching(run, {0: stop})
    with pytest.raises(KeyboardInterrupt):
        train(run, task, 10)
    assert run.checkpoints.steps() == [1]


def test_a_failing_step_leaves_the_checkpoint_before_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The error of non-finite numbers names it, though it was being written when they came."""
    gate, run = Gate(monkeypatch), new_run(tmp_path)
    task = Watching(run, {2: threading.Timer(0.1, gate.event.set).start})
    with pytest.raises(WorkError, match="the checkpoint of step 2 is from before"):
        train(run, task, 10, [0, 1, -1, 3, 4, 5])
    assert run.checkpoints.steps() == [2]


def test_an_error_of_another_process_is_not_waited_for_long(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Then shards of the others are due within seconds; not so after Ctrl-C."""
    asked: list[int] = []
    monkeypatch.setattr(Checkpoints, "hurry", lambda self: asked.append(1))

    def lost() -> None:
        raise RuntimeError("connection closed by peer")

    def stop() -> None:
        raise KeyboardInterrupt

    for number, (error, act) in enumerate(((RuntimeError, lost), (KeyboardInterrupt, stop))):
        run = new_run(tmp_path / str(number))
        with pytest.raises(error):
            train(run, Watching(run, {3: act}), 6)
        assert asked == [1]
        assert run.checkpoints.steps() == [2]
