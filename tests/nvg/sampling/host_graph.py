"""A stand-in for a CUDA graph."""

from collections.abc import Callable
from typing import Any

from torch import Tensor


class HostGraph:
    """A graph that a CPU replays: the work again, on its buffers, into the same output."""

    def __init__(self, pool: Any = None, notes: list[str] | None = None) -> None:
        self.notes = [] if notes is None else notes
        """Fills as it is used: record, replay."""

    def record(self, work: Callable[[], Tensor]) -> Tensor:
        """Do it, and remember it."""
        self.notes.append("record")
        self.work, self.output = work, work()
        return self.output

    def replay(self) -> None:
        """Do it again."""
        self.notes.append("replay")
        self.output.copy_(self.work())
