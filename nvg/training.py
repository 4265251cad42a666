"""What both training loops share: the run directory, steps, logging, checkpoints, interruption.

A run directory holds config.toml (resolved), metrics.jsonl (one line per log step) and
checkpoints/. All randomness of a step is seeded by (seed, step), so a checkpoint needs no RNG state
and a resumed run equals an uninterrupted one.
"""

import json
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

import torch

from nvg.checkpoint import Checkpoints
from nvg.config import ConfigError, as_table, dump, load, require_positive
from nvg.errors import InputError
from nvg.optim import adamw
from nvg.progress import progress

Metrics = dict[str, torch.Tensor]


class RunError(InputError):
    """A run directory that cannot be used as asked; the message names it and the remedy."""


@dataclass(frozen=True, kw_only=True)
class LoopConfig:
    """What every training has: its length, optimiser, seed, and how often it reports and saves."""

    steps: int
    batch_size: int
    lr: float
    warmup: int
    betas: tuple[float, ...]
    weight_decay: float
    clip: float
    seed: int = 0
    log_every: int = 50
    checkpoint_every: int = 1000

    def __post_init__(self) -> None:
        require_positive(self, "steps", "batch_size", "log_every", "checkpoint_every")
        for name in ("lr", "warmup", "weight_decay", "clip", "seed"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} must not be negative, not {getattr(self, name)}")
        if len(self.betas) != 2:
            raise ValueError(f"betas must be two numbers, not {list(self.betas)}")

    def optimizer(self, module: torch.nn.Module) -> torch.optim.AdamW:
        """AdamW for a module, with these hyper-parameters."""
        return adamw(module, self.lr, (self.betas[0], self.betas[1]), self.weight_decay)


class Run:
    """A run directory, new or to be continued.

    `decisive` names the sections of the config that must stay the same while it is continued;
    `name` keeps several runs of one directory apart.
    """

    def __init__(
        self, directory: Path, config: Any, resume: bool, decisive: tuple[str, ...], name: str = ""
    ) -> None:
        self.directory = directory
        self.metrics_path = directory / f"metrics{'-' * bool(name)}{name}.jsonl"
        self.checkpoints = Checkpoints(directory / "checkpoints" / name)
        saved = directory / "config.toml"
        if directory.exists() and not directory.is_dir():
            raise RunError(f"{directory} is a file: choose another --out")
        if saved.exists():
            self._check_same(saved, config, decisive)
            if self.checkpoints.steps() and not resume:
                raise RunError(
                    f"{directory} holds a run: continue it with --resume, or choose another --out"
                )
        directory.mkdir(parents=True, exist_ok=True)
        dump(config, saved)

    def _check_same(self, saved: Path, config: Any, decisive: tuple[str, ...]) -> None:
        """RunError unless both agree; a key that is newer than the run counts as its default."""
        try:
            before, now = (
                {name: as_table(recipe).get(name) for name in decisive}
                for recipe in (load(type(config), saved), config)
            )
            different = ", ".join(sorted(_differences(before, now)))
        except ConfigError as error:
            different = str(error)
        if different:
            raise RunError(
                f"{self.directory} holds a run of another recipe (differs in {different}): use "
                "that recipe, or choose another --out"
            )

    def start_step(self) -> int:
        """The step of the newest checkpoint, 0 for a new run; later metric lines are dropped."""
        steps = self.checkpoints.steps()
        start = steps[-1] if steps else 0
        if self.metrics_path.exists():
            lines = self.metrics_path.read_text().splitlines(keepends=True)
            kept = [line for line in lines if line.endswith("\n") and _step_of(line) <= start]
            self.metrics_path.write_text("".join(kept) if start else "")
        return start

    def log(self, **values: Any) -> None:
        """Append one JSON line to the metrics."""
        with self.metrics_path.open("a") as file:
            file.write(json.dumps(values) + "\n")


def train_loop(
    run: Run,
    config: LoopConfig,
    start: int,
    step: Callable[[int], Metrics],
    state: Callable[[], tuple[dict[str, bytes], dict[str, Any]]],
    description: str,
) -> None:
    """Run `step` for start..steps-1; log means; save `state` regularly, at the end, on Ctrl-C."""
    window: dict[str, Any] = run.checkpoints.state(start)["window"] if start else {"count": 0}
    began = time.perf_counter()
    with (
        _stop_requests() as stop,
        progress(total=config.steps, initial=start, desc=description, unit="step") as bar,
    ):
        for number in range(start, config.steps):
            torch.manual_seed(step_seed(config.seed, number))
            _add(window, step(number))
            done, last = number + 1, number + 1 == config.steps
            if done % config.log_every == 0 or last:
                count = window.pop("count")
                means = {name: float(value) / count for name, value in window.items()}
                run.log(step=done, **means, seconds=round(time.perf_counter() - began, 3))
                bar.set_postfix({k: f"{v:.4f}" for k, v in means.items()}, refresh=False)
                window = {"count": 0}
            if done % config.checkpoint_every == 0 or last or stop():
                files, facts = state()
                sums = {name: float(value) for name, value in window.items()}
                run.checkpoints.save(done, files, {**facts, "window": sums})
            bar.update()
            if stop():
                raise KeyboardInterrupt


def step_seed(seed: int, step: int) -> int:
    """One 63-bit seed per (seed, step): SplitMix64's finaliser over both."""
    value = (seed * 0x9E3779B97F4A7C15 + step + 1) & (2**64 - 1)
    value = ((value ^ (value >> 30)) * 0xBF58476D1CE4E5B9) & (2**64 - 1)
    value = ((value ^ (value >> 27)) * 0x94D049BB133111EB) & (2**64 - 1)
    return (value ^ (value >> 31)) >> 1


def device() -> torch.device:
    """The accelerator when there is one."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def _add(window: dict[str, Any], values: Metrics) -> None:
    """Sum on the device: reading a value at every step would make the device wait."""
    window["count"] += 1
    for name, value in values.items():
        window[name] = value.detach() + window.get(name, 0.0)


def _step_of(line: str) -> int:
    step: int = json.loads(line)["step"]
    return step


def _differences(before: Any, now: Any, where: str = "") -> Iterator[str]:
    """Dotted names of the keys whose values differ."""
    if isinstance(before, dict) and isinstance(now, dict):
        for key in before.keys() | now.keys():
            yield from _differences(before.get(key), now.get(key), f"{where}.{key}".lstrip("."))
    elif before != now:
        yield where


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
