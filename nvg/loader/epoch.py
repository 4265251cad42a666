"""One epoch of a store in its order: from memory, or streamed window by window.

Legend: M vector of a flat list, B image of a batch, X view, N position, T token.
"""

from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Protocol

import numpy as np
import torch

from nvg.loader.deal import Deal
from nvg.loader.pace import MOST_AHEAD
from nvg.loader.token_reader import TokenReader, Tokens
from nvg.seeding import Rows, permutation, view_choice
from nvg.sequence import Sequences

Array = np.ndarray[Any, Any]


class Epoch(Protocol):
    """The samples of one epoch by position; positions are asked for in ascending order."""

    def take(self, start: int, stop: int) -> Sequences:
        """The samples at these positions."""

    def close(self) -> None:
        """Let go of what is being read ahead."""


class MemoryEpoch:
    """A true permutation of all rows of a split, which are in memory."""

    def __init__(self, tokens: Tokens, seed: int, epoch: int, pin: bool) -> None:
        count, views = tokens.leaves.shape[:2]
        order = permutation(count, seed, epoch)
        view = view_choice(count, views, seed, epoch)[order] if views > 1 else None
        self.rows = Shuffled(tokens, order, view, pin)

    def take(self, start: int, stop: int) -> Sequences:
        """Any of them."""
        return self.rows.take(start, stop)

    def close(self) -> None:
        """Nothing is under way."""


class StreamEpoch:
    """A node's windows of whole chunks: the rows of a window are shuffled together.

    A batch mixes the rows of as many chunks as a window has, new every epoch, and memory holds the
    window that is shown and those that are read ahead. Any position is found without reading what
    lies before it. Chunks without a row of the reader's split are never read.
    """

    def __init__(self, reader: TokenReader, deal: Deal, node: int, start: int, pin: bool) -> None:
        self.reader, self.deal, self.node, self.pin = reader, deal, node, pin
        self.windows = deal.windows(node)
        counts = [sum(len(piece.rows) for piece in window) for window in self.windows]
        self.largest = max(counts, default=0)
        self.ends = np.cumsum(counts)
        self.pool = ThreadPoolExecutor(MOST_AHEAD)
        self.number = int(np.searchsorted(self.ends, start, side="right")) - 1
        self.current: Shuffled | None = None
        self.coming: deque[Future[Shuffled]] = deque()
        self._read_ahead()

    def take(self, start: int, stop: int) -> Sequences:
        """Rows of the current window, and of the next ones where it ends within the batch."""
        parts = []
        while start < stop:
            while self.current is None or start >= self.ends[self.number]:
                self._advance()
            end = int(self.ends[self.number])
            first, upto = end - len(self.current), min(stop, end)
            parts.append(self.current.take(start - first, upto - first))
            start = upto
        if not parts:
            none = np.empty(0, np.int64)
            return Shuffled(self.reader.empty(0), none, None, self.pin).take(0, 0)
        return parts[0] if len(parts) == 1 else Sequences.join(parts)

    def close(self) -> None:
        """Wait for the windows that are being read, and drop them."""
        self.pool.shutdown(cancel_futures=True)
        for window in self.coming:
            if not window.cancelled() and not window.exception():
                self.reader.reuse(window.result().tokens)
        self._done()

    def _advance(self) -> None:
        assert self.coming, "a position beyond the epoch"
        is_first = self.current is None
        self._done()
        coming = self.coming.popleft()
        self.number += 1
        if not is_first:  # a core that finds no more chunks in the next one begins what follows
            self._read_ahead()
        self.current = coming.result()
        self._read_ahead()

    def _done(self) -> None:
        if self.current:
            self.reader.reuse(self.current.tokens)
        self.current = None

    def _read_ahead(self) -> None:
        first = self.number + 1
        ahead = self.reader.windows_ahead(self.deal.window)
        for number in range(first + len(self.coming), min(first + ahead, len(self.windows))):
            self.coming.append(self.pool.submit(self._window, number))

    def _window(self, number: int) -> "Shuffled":
        tokens = self.reader.read(self.windows[number], self.largest)
        count, views = tokens.leaves.shape[:2]
        order, view = self.deal.rows(self.node, number, count, views)
        return Shuffled(tokens, order, view if views > 1 else None, self.pin)


class Shuffled:
    """Rows in the order in which they are shown, each with one of its views.

    A batch is one gather of each large array, and slices of what is brought into order here, once:
    labels and numbers of rows. Without `view` rows have one only.
    """

    def __init__(self, tokens: Tokens, order: Rows, view: Rows | None, pin: bool) -> None:
        self.tokens, self.pin = tokens, pin
        views = tokens.leaves.shape[1]
        self.shown = order if view is None else order * views + view
        """Where each lies among all views of all rows."""
        self.leaves, self.content = _by_view(tokens.leaves), _by_view(tokens.content)
        self.features = None if tokens.features is None else _by_view(tokens.features)
        self.label = tokens.label.take(order, mode="clip")  # unchecked, as in `_take`
        self.row = tokens.row.take(order, mode="clip")

    def __len__(self) -> int:
        return len(self.shown)

    def take(self, start: int, stop: int) -> Sequences:
        """These as tensors; in pinned memory on demand."""
        part, pin = slice(start, stop), self.pin
        shown, label = self.shown[part], torch.from_numpy(self.label[part])
        return Sequences(
            _take(self.leaves, shown, pin),
            _take(self.content, shown, pin),
            label.pin_memory() if pin else label,
            torch.from_numpy(self.row[part]),
            None if self.features is None else _take(self.features, shown, pin),
        )


def _by_view(values: Array) -> Array:
    """[M, X, ...] as [M * X, ...]."""
    return values.reshape(-1, *values.shape[2:])


def _take(values: Array, rows: Rows, pin: bool) -> torch.Tensor:
    """`values[rows]`, written straight into a tensor; rows are known to be in range: no check."""
    if not pin:
        return torch.from_numpy(values.take(rows, 0, mode="clip"))
    kind = torch.from_numpy(values[:0]).dtype
    made = torch.empty((len(rows), *values.shape[1:]), dtype=kind, pin_memory=True)
    values.take(rows, 0, out=made.numpy(), mode="clip")
    return made
