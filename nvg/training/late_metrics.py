"""The metrics of a step, read when the next one has been launched, and their means.

By then the device has most likely sent them, and it has work to do while the host reads.
"""

import contextlib
import math
from collections.abc import Callable
from typing import Any

import torch

from nvg.errors import WorkError
from nvg.host_copy import Read
from nvg.training.run_dir import Run

Metrics = dict[str, torch.Tensor]


class Window:
    """Sums of the metrics since the last line, float32; a checkpoint keeps its `sums`."""

    def __init__(self, sums: dict[str, Any]) -> None:
        self._count = sums.pop("count")
        self._names = list(sums)
        self._sums = torch.tensor(list(sums.values()), dtype=torch.float32)

    def add(self, names: list[str], values: torch.Tensor) -> None:
        """Add the numbers of a step, float32 on the CPU."""
        if names != self._names:
            known = self._found()
            self._sums = torch.tensor([known.get(name, 0.0) for name in names])
            self._names = names
        self._count += 1
        self._sums = self._sums + values

    def clear(self) -> None:
        """Begin the next line."""
        self._count, self._sums = 0, torch.zeros_like(self._sums)

    def means(self) -> dict[str, float]:
        """Mean of each metric over the steps."""
        return {name: value / self._count for name, value in self._found().items()}

    def sums(self) -> dict[str, Any]:
        """Sum of each metric, and the `count` of steps."""
        return {"count": self._count, **(self._found() if self._count else {})}

    def _found(self) -> dict[str, float]:
        return dict(zip(self._names, self._sums.tolist(), strict=True))


class LateMetrics:
    """Reads a step's metrics one step late, and stops a training whose numbers are not finite.

    `rows` tells which images a batch holds.
    """

    def __init__(self, run: Run, rows: Callable[[Any], str], window: Window) -> None:
        self.run, self.rows, self.window = run, rows, window
        self.pending: tuple[int, Read, Any] | None = None

    def add(self, number: int, metrics: Metrics, batch: Any) -> None:
        """Send those of this step on their way, and read those of the step before."""
        self.settle()
        self.pending = number, Read(metrics), batch

    def settle(self) -> None:
        """Add the pending step to the window; WorkError unless its numbers are all finite."""
        if self.pending is None:
            return
        number, read, batch = self.pending
        self.pending = None
        values = read.numbers()
        self.window.add(read.names, values)
        numbers = zip(read.names, values.tolist(), strict=True)
        bad = [name for name, value in numbers if not math.isfinite(value)]
        if bad:
            with contextlib.suppress(WorkError):  # of two errors this one is told
                self.run.checkpoints.wait()
            saved = self.run.checkpoints.steps()
            newest = f"the checkpoint of step {saved[-1]}" if saved else "the beginning"
            raise WorkError(
                f"step {number + 1}: {', '.join(bad)} is non-finite, at rows "
                f"{self.rows(batch)}; {newest} is from before: check these rows, lower "
                "the learning rate"
            )
