"""The training loop: steps, seeds, logging, checkpoints, interruption.

All randomness of a step is seeded by (seed, step, shard), so a checkpoint needs no RNG state and a
resumed run equals an uninterrupted one.
"""

import math
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Any, Generic, Protocol, TypeVar

import torch

from nvg.distributed import World
from nvg.errors import InputError, Stopped, WorkError
from nvg.progress import progress
from nvg.seeding import step_seed
from nvg.training.checkpoint import LOSS, Checkpoints, Files
from nvg.training.config import LoopConfig
from nvg.training.late_metrics import LateMetrics, Metrics, Window
from nvg.training.run_dir import Run
from nvg.training.stop import stop_requests

AGREE_EVERY = 10  # steps after which several processes ask each other whether one is to stop, or
AGREE_SECONDS = 5.0  # earlier, where so many steps take longer
UNSHOWN = "unshown"  # in a checkpoint's state: a stop left its held-out losses and pictures undone

Batch = TypeVar("Batch", contravariant=True)
Item = TypeVar("Item")


class Task(Protocol[Batch]):
    """What a loop drives."""

    def step(self, number: int, batch: Batch) -> Metrics:
        """One optimizer step; the first metric is the loss."""

    def state(self) -> tuple[Files, dict[str, Any]]:
        """Files and metadata of a checkpoint, which later steps leave as they are; collective."""

    def is_validated(self, number: int) -> bool:
        """Whether held-out losses are due when so many steps are done; by default never."""
        return False

    def validate(self, number: int) -> dict[str, float]:
        """Held-out losses by name; collective."""
        return {}

    def has_converged(self) -> bool:
        """Whether training may end early: no held-out loss falls any more."""
        return False

    def rows(self, batch: Batch) -> str:
        """Which images a batch holds, for a message."""

    def reads_checkpoint(self, number: int) -> bool:
        """Whether `checkpointed` reads the checkpoint, which then must be complete."""
        return False

    def checkpointed(self, number: int) -> None:
        """Called after a checkpoint, while it is being written."""


def train_loop(
    run: Run,
    config: LoopConfig,
    start: int,
    batches: Iterator[Item],
    task: Task[Item],
    description: str,
    world: World | None = None,
) -> None:
    """Run steps start..steps-1; log means; save regularly, at the end, when a signal asks to stop.

    WorkError for a non-finite loss, before a checkpoint holds anything of it, and for a checkpoint
    that cannot be written. They are written beside the next steps; all are on the disk, and every
    process knows, when this returns or raises Stopped. Several processes agree to stop at
    checkpoints and every few steps or seconds, since asking makes all wait. Held-out losses and
    pictures that are due when a run stops are made when it goes on.
    """
    world = world or World(0, 1, torch.device("cpu"))
    loop, signal, done = _Loop(run, config, start, task, world), 0, start
    with (
        closing(run),
        stop_requests() as asked,
        _writes_end(run.checkpoints, world),
        progress(
            total=config.steps,
            initial=start,
            desc=description,
            unit="step",
            disable=not world.is_main,
        ) as bar,
    ):
        loop.catch_up(start)
        for number in range(start, start if task.has_converged() else config.steps):
            loop.step(number, batches)
            done = number + 1
            signal = loop.agreed(done, asked())
            scores = {} if signal else loop.validate(done)
            last = done == config.steps or (bool(scores) and task.has_converged())
            if done % config.log_every == 0 or last:
                bar.set_postfix(loop.log(done), refresh=False)
            if loop.is_point(done) or signal:
                loop.save(done, scores, bool(signal))
            bar.update()
            if signal or last:
                break
    if signal:
        raise Stopped(signal, f"step {done} is saved; go on with --resume")


class _Loop(Generic[Item]):
    """What happens between the steps of a training, in the order of its methods."""

    def __init__(
        self, run: Run, config: LoopConfig, start: int, task: Task[Item], world: World
    ) -> None:
        self.run, self.config, self.task, self.world = run, config, task, world
        self.before: dict[str, Any] = run.checkpoints.state(start) if start else {}
        self.window = Window(self.before.get("window", {"count": 0}))
        self.timer = _StepTimer(config.batch_size)
        self.late = LateMetrics(run, task.rows, self.window)
        self.loss = self.before.get("scores", {}).get(LOSS, math.inf)
        self.asked, self.next_ask, self.asked_at = start, start + 1, time.perf_counter()

    def catch_up(self, start: int) -> None:
        """Held-out losses and pictures of the step that the run's last life stopped at."""
        if self.before.get(UNSHOWN):
            self.save(start, self.validate(start) or self.before["scores"])

    def step(self, number: int, batches: Iterator[Item]) -> None:
        """One step on the next batch; WorkError where a checkpoint could not be written."""
        self.run.checkpoints.check()
        batch = self.timer.next(batches)
        torch.manual_seed(step_seed(self.config.seed, number))
        try:
            metrics = self.task.step(number, batch)
        except (ValueError, WorkError):  # maybe of weights that the step before made non-finite
            self.late.settle()
            raise
        self.late.add(number, metrics, batch)

    def agreed(self, done: int, signal: int) -> int:
        """The number of a signal that came to any process, 0 for none; all get the same.

        One process knows after every step; several ask each other now and then.
        """
        if self.world.size == 1:
            return signal
        if done < self.next_ask and done % self.config.checkpoint_every:
            return 0
        spent = (time.perf_counter() - self.asked_at) / (done - self.asked)
        signal, milliseconds = self.world.highest([signal, int(1000 * spent)])
        every = int(1000 * AGREE_SECONDS / max(milliseconds, 1))
        self.asked, self.next_ask = done, done + min(max(every, 1), AGREE_EVERY)
        self.asked_at = time.perf_counter()
        return signal

    def validate(self, done: int) -> dict[str, float]:
        """Held-out losses where they are due, in time that is not the steps'."""
        if not self.task.is_validated(done):
            return {}
        self.late.settle()
        with self.timer.paused():
            return self.task.validate(done)

    def log(self, done: int) -> dict[str, str]:
        """Write the means since the last line; what the bar shows."""
        self.late.settle()
        means = self.world.mean(self.window.means())
        self.loss = next(iter(means.values()))
        self.run.log(done, **means, **self.timer.lap())
        self.window.clear()
        return self.timer.shown(means)

    def save(self, done: int, scores: dict[str, float], is_stopping: bool = False) -> None:
        """Begin to write a checkpoint; its scores: held-out losses, or else the training loss.

        When stopping it is all that is done: a process that was told to end may have seconds.
        """
        self.late.settle()
        checkpoints = self.run.checkpoints
        checkpoints.wait()  # before the next copy of the weights is made
        files, metadata = self.task.state()
        state = {
            **metadata,
            "window": self.window.sums(),
            **({UNSHOWN: True} if is_stopping else {}),
        }
        found = scores or {LOSS: self.loss}
        checkpoints.begin(done, files, state, self.config.keep, found, self.world)
        if is_stopping or not self.is_point(done):
            return
        if self.task.reads_checkpoint(done):
            checkpoints.wait()
        self.task.checkpointed(done)

    def is_point(self, done: int) -> bool:
        """Whether a checkpoint is due after so many steps, whatever signals come."""
        is_last = done == self.config.steps or self.task.has_converged()
        return is_last or done % self.config.checkpoint_every == 0


class _StepTimer:
    """How the time of the steps is spent."""

    def __init__(self, batch_size: int) -> None:
        self.batch_size = batch_size
        self.began = self.lap_began = time.perf_counter()
        self.waited, self.steps = 0.0, 0
        self.samples, self.data_wait = 0.0, 0.0

    def next(self, batches: Iterator[Item]) -> Item:
        """The next batch, its waiting time counted."""
        before = time.perf_counter()
        batch = next(batches)
        self.waited += time.perf_counter() - before
        self.steps += 1
        return batch

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Time that is none of the steps'."""
        before = time.perf_counter()
        yield
        self.lap_began += time.perf_counter() - before

    def lap(self) -> dict[str, float]:
        """Seconds in total; samples per second and fraction of data wait since the last lap."""
        now = time.perf_counter()
        spent = max(now - self.lap_began, 1e-9)
        self.samples, self.data_wait = self.steps * self.batch_size / spent, self.waited / spent
        self.lap_began, self.waited, self.steps = now, 0.0, 0
        return {
            "seconds": round(now - self.began, 3),
            "samples_per_second": round(self.samples, 2),
            "data_wait": round(self.data_wait, 5),
        }

    def shown(self, means: dict[str, float]) -> dict[str, str]:
        """The postfix of the bar."""
        losses = {name: f"{value:.4f}" for name, value in means.items()}
        return losses | {"img/s": f"{self.samples:.0f}", "wait": f"{self.data_wait:.1%}"}


@contextmanager
def _writes_end(checkpoints: Checkpoints, world: World) -> Iterator[None]:
    """Wait at the end until what is being written is on the disk, whatever ends the training."""
    try:
        yield
    except BaseException as error:
        if not isinstance(error, (InputError, WorkError, KeyboardInterrupt)):
            checkpoints.hurry()  # another process may be gone
        checkpoints.wait()
        raise
    checkpoints.wait()
    world.wait()
