"""What both training loops share: steps, seeds, logging, checkpoints, interruption.

All randomness of a step is seeded by (seed, step, shard), so a checkpoint needs no RNG state and a
resumed run equals an uninterrupted one.
"""

import math
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any, Protocol, TypeVar

import torch

from nvg.distributed import World
from nvg.errors import WorkError
from nvg.progress import progress
from nvg.seeding import step_seed
from nvg.training.config import LoopConfig
from nvg.training.run_dir import Run

Metrics = dict[str, torch.Tensor]
Batch = TypeVar("Batch", contravariant=True)
Item = TypeVar("Item")


class Task(Protocol[Batch]):
    """What a loop drives."""

    def step(self, number: int, batch: Batch) -> Metrics:
        """One optimiser step; the metrics' first entry is what is minimised."""

    def state(self) -> tuple[dict[str, bytes], dict[str, Any]]:
        """Files and facts of a checkpoint; every process is asked, one writes them."""

    def rows(self, batch: Batch) -> str:
        """Which images a batch holds, for a message."""

    def checkpointed(self, number: int) -> None:
        """Called after a checkpoint."""


def train_loop(
    run: Run,
    config: LoopConfig,
    start: int,
    batches: Iterator[Item],
    task: Task[Item],
    description: str,
    world: World | None = None,
) -> None:
    """Run steps start..steps-1; log means; save regularly, at the end, on Ctrl-C.

    WorkError for a loss that is no number, before anything of it is saved.
    """
    world = world or World(0, 1, torch.device("cpu"))
    window = _Window(run.checkpoints.state(start)["window"] if start else {"count": 0})
    watch = _StepTimer(config.batch_size)
    guard, score = _FiniteGuard(run, task), math.inf
    with (
        _stop_requests() as stop,
        progress(
            total=config.steps,
            initial=start,
            desc=description,
            unit="step",
            disable=not world.is_main,
        ) as bar,
    ):
        for number in range(start, config.steps):
            batch = watch.next(batches)
            torch.manual_seed(step_seed(config.seed, number))
            try:
                metrics = task.step(number, batch)
            except (ValueError, WorkError):  # perhaps of weights that the step before spoilt
                guard.settle()
                raise
            guard.look(number, metrics, batch)
            window.add(metrics)
            done, last, stopping = number + 1, number + 1 == config.steps, world.any(stop())
            if done % config.log_every == 0 or last:
                guard.settle()
                means = world.mean(window.means())
                score = next(iter(means.values()))
                run.log(done, **means, **watch.lap())
                bar.set_postfix(watch.shown(means), refresh=False)
                window = _Window({"count": 0})
            if done % config.checkpoint_every == 0 or last or stopping:
                guard.settle()
                files, facts = task.state()
                if world.is_main:
                    state = {**facts, "window": window.sums()}
                    run.checkpoints.save(done, files, state, config.keep, score)
                world.wait()
                task.checkpointed(done)
            bar.update()
            if stopping:
                raise KeyboardInterrupt
    run.close()


class _Window:
    """Sums of the metrics since the last line, on the device: reading them would make it wait."""

    def __init__(self, sums: dict[str, Any]) -> None:
        self._count = sums.pop("count")
        self._sums = sums

    def add(self, metrics: Metrics) -> None:
        self._count += 1
        for name, value in metrics.items():
            self._sums[name] = value.detach() + self._sums.get(name, 0.0)

    def means(self) -> dict[str, float]:
        return {name: float(value) / self._count for name, value in self._sums.items()}

    def sums(self) -> dict[str, Any]:
        return {"count": self._count} | {name: float(v) for name, v in self._sums.items()}


class _StepTimer:
    """How the time of the steps is spent."""

    def __init__(self, batch_size: int) -> None:
        self.batch_size = batch_size
        self.began = self.lap_began = time.perf_counter()
        self.waited, self.steps = 0.0, 0
        self.samples, self.share = 0.0, 0.0

    def next(self, batches: Iterator[Item]) -> Item:
        """The next batch, its waiting time counted."""
        before = time.perf_counter()
        batch = next(batches)
        self.waited += time.perf_counter() - before
        self.steps += 1
        return batch

    def lap(self) -> dict[str, float]:
        """Seconds in all; samples per second and the share of waiting for data since the last."""
        now = time.perf_counter()
        spent = max(now - self.lap_began, 1e-9)
        self.samples, self.share = self.steps * self.batch_size / spent, self.waited / spent
        self.lap_began, self.waited, self.steps = now, 0.0, 0
        return {
            "seconds": round(now - self.began, 3),
            "samples_per_second": round(self.samples, 2),
            "data_wait": round(self.share, 5),
        }

    def shown(self, means: dict[str, float]) -> dict[str, str]:
        """The postfix of the bar."""
        losses = {name: f"{value:.4f}" for name, value in means.items()}
        return losses | {"img/s": f"{self.samples:.0f}", "wait": f"{self.share:.1%}"}


class _FiniteGuard:
    """Looks at the losses one step late, so that the device is never waited for."""

    def __init__(self, run: Run, task: Task[Any]) -> None:
        self.run, self.task = run, task
        self.pending: tuple[int, Metrics, Any] | None = None

    def look(self, number: int, metrics: Metrics, batch: Any) -> None:
        """Check the step before this one."""
        self.settle()
        self.pending = number, metrics, batch

    def settle(self) -> None:
        """WorkError unless all losses of the pending step are numbers."""
        if self.pending is None:
            return
        number, metrics, batch = self.pending
        self.pending = None
        bad = [name for name, value in metrics.items() if not bool(value.isfinite())]
        if bad:
            saved = self.run.checkpoints.steps()
            newest = f"the checkpoint of step {saved[-1]}" if saved else "the beginning"
            raise WorkError(
                f"step {number + 1}: {', '.join(bad)} is not a number any more, at rows "
                f"{self.task.rows(batch)}; {newest} is from before: look at these rows, lower "
                "the learning rate"
            )


@contextmanager
def _stop_requests() -> Iterator[Callable[[], bool]]:
    """Turn the first SIGINT or SIGTERM into a request to stop after the step; a second kills."""
    import threading

    if threading.current_thread() is not threading.main_thread():
        yield lambda: False
        return
    requested: list[int] = []
    previous = {s: signal.getsignal(s) for s in (signal.SIGINT, signal.SIGTERM)}

    def request(number: int, frame: FrameType | None) -> None:
        requested.append(number)
        for each, handler in previous.items():
            signal.signal(each, handler)

    for each in previous:
        signal.signal(each, request)
    try:
        yield lambda: bool(requested)
    finally:
        for each, handler in previous.items():
            signal.signal(each, handler)
