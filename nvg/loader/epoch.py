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
        self.tokens, self.pin = tokens, pin
        self.order = permutation(count, seed, epoch)
        self.shown = self.order
        """Of each row the view that is shown, by its place among all views of all rows."""
        if views > 1:
            view = view_choice(count, views, seed, epoch)
            self.shown = self.order * views + view[self.order]

    def take(self, start: int, stop: int) -> Sequences:
        """One gather an array."""
        return gather(self.tokens, self.order[start:stop], self.shown[start:stop], self.pin)

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
        self.current: tuple[Tokens, Rows, Rows] | None = None
        self.coming: deque[Future[tuple[Tokens, Rows, Rows]]] = deque()
        self._read_ahead()

    def take(self, start: int, stop: int) -> Sequences:
        """Rows of the current window, and of the next ones where it ends within the batch."""
        parts = []
        while start < stop:
            while self.current is None or start >= self.ends[self.number]:
                self._advance()
            tokens, order, shown = self.current
            first = self.ends[self.number] - len(order)
            upto = min(stop, int(self.ends[self.number]))
            picked = slice(start - first, upto - first)
            parts.append(gather(tokens, order[picked], shown[picked], self.pin))
            start = upto
        if not parts:
            none = np.empty(0, np.int64)
            return gather(self.reader.empty(0), none, none, self.pin)
        return parts[0] if len(parts) == 1 else Sequences.join(parts)

    def close(self) -> None:
        """Wait for the windows that are being read, and drop them."""
        self.pool.shutdown(cancel_futures=True)
        for window in self.coming:
            if not window.cancelled() and not window.exception():
                self.reader.reuse(window.result()[0])
        self._done()

    def _advance(self) -> None:
        assert self.coming, "a position beyond the epoch"
        self._done()
        self.current = self.coming.popleft().result()
        self.number += 1
        self._read_ahead()

    def _done(self) -> None:
        if self.current:
            self.reader.reuse(self.current[0])
        self.current = None

    def _read_ahead(self) -> None:
        first = self.number + 1
        ahead = self.reader.windows_ahead(self.deal.window)
        for number in range(first + len(self.coming), min(first + ahead, len(self.windows))):
            self.coming.append(self.pool.submit(self._window, number))

    def _window(self, number: int) -> tuple[Tokens, Rows, Rows]:
        tokens = self.reader.read(self.windows[number], self.largest)
        count, views = tokens.leaves.shape[:2]
        order, view = self.deal.rows(self.node, number, count, views)
        return tokens, order, order * views + view if views > 1 else order


def gather(tokens: Tokens, rows: Rows, shown: Rows, pin: bool) -> Sequences:
    """These rows as tensors, each with one of all views of all rows; in pinned memory on demand."""
    features = tokens.features
    return Sequences(
        _take(tokens.leaves.reshape(-1, tokens.leaves.shape[2]), shown, pin),
        _take(tokens.content.reshape(-1, tokens.content.shape[2]), shown, pin),
        _pick(tokens.label, rows, pin),
        _pick(tokens.row, rows, False),
        None if features is None else _take(features.reshape(-1, *features.shape[2:]), shown, pin),
    )


def _take(values: Array, rows: Rows, pin: bool) -> torch.Tensor:
    """`values[rows]`, written straight into a tensor; rows are known to be in range."""
    if not pin:
        return torch.from_numpy(values.take(rows, 0, mode="clip"))
    kind = torch.from_numpy(values[:0]).dtype
    made = torch.empty((len(rows), *values.shape[1:]), dtype=kind, pin_memory=True)
    values.take(rows, 0, out=made.numpy(), mode="clip")
    return made


def _pick(values: Array, rows: Rows, pin: bool) -> torch.Tensor:
    """The same of one number a row: `take` lets other threads run, which costs more than so few."""
    found = torch.from_numpy(values[rows])
    return found.pin_memory() if pin else found
