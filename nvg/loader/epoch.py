"""One epoch of a store in its order: from memory, or streamed window by window.

Legend: M vector of a flat list, B image of a batch, X view, N position, T token.
"""

from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Protocol

import numpy as np
import torch

from nvg.loader.token_reader import TokenReader, Tokens
from nvg.seeding import Rows, part_order, permutation, view_choice
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
        self.view = view_choice(count, views, seed, epoch)

    def take(self, start: int, stop: int) -> Sequences:
        """One gather an array."""
        rows = self.order[start:stop]
        return gather(self.tokens, rows, self.view[rows], self.pin)

    def close(self) -> None:
        """Nothing is under way."""


class StreamEpoch:
    """Windows of whole chunks: chunks in a random order, the rows of a window shuffled together.

    A batch mixes the rows of `window` chunks, new every epoch, and memory holds two windows,
    the one that is read and the next. The order is a function of (seed, epoch) and the window's
    size, so any position is found without reading what lies before it. Chunks without a row of the
    reader's split are never read.
    """

    def __init__(
        self, reader: TokenReader, seed: int, epoch: int, window: int, start: int, pin: bool
    ) -> None:
        self.reader, self.seed, self.epoch, self.pin = reader, seed, epoch, pin
        chunks = reader.chunks[permutation(len(reader.chunks), seed, epoch)]
        self.windows = [chunks[n : n + window] for n in range(0, len(chunks), window)]
        counts = np.array([reader.counts[window].sum() for window in self.windows])
        self.ends = np.cumsum(counts)
        self.pool = ThreadPoolExecutor(1)
        self.number = int(np.searchsorted(self.ends, start, side="right")) - 1
        self.current: tuple[Tokens, Rows, Rows] | None = None
        self.coming = self._read(self.number + 1)

    def take(self, start: int, stop: int) -> Sequences:
        """Rows of the current window, and of the next ones where it ends within the batch."""
        parts = []
        while start < stop:
            while self.current is None or start >= self.ends[self.number]:
                self._advance()
            tokens, order, view = self.current
            first = self.ends[self.number] - len(order)
            upto = min(stop, int(self.ends[self.number]))
            picked = slice(start - first, upto - first)
            parts.append(gather(tokens, order[picked], view[picked], self.pin))
            start = upto
        if not parts:
            none = np.empty(0, np.int64)
            return gather(self.reader.empty(0), none, none, self.pin)
        return parts[0] if len(parts) == 1 else Sequences.join(parts)

    def close(self) -> None:
        """Wait for the window that is being read, and drop it."""
        self.pool.shutdown(cancel_futures=True)

    def _advance(self) -> None:
        self.number += 1
        assert self.coming is not None, "a position beyond the epoch"
        self.current = self.coming.result()
        self.coming = self._read(self.number + 1)

    def _read(self, number: int) -> "Future[tuple[Tokens, Rows, Rows]] | None":
        if number >= len(self.windows):
            return None
        return self.pool.submit(self._window, number)

    def _window(self, number: int) -> tuple[Tokens, Rows, Rows]:
        tokens = self.reader.read(self.windows[number].tolist())
        count, views = tokens.leaves.shape[:2]
        return tokens, *part_order(count, views, self.seed, self.epoch, number)


def gather(tokens: Tokens, rows: Rows, view: Rows, pin: bool) -> Sequences:
    """The given view of each of these rows as tensors, in pinned memory on demand."""
    views = tokens.leaves.shape[1]
    flat = rows * views + view if views > 1 else rows
    features = tokens.features
    return Sequences(
        _take(tokens.leaves.reshape(-1, tokens.leaves.shape[2]), flat, pin),
        _take(tokens.content.reshape(-1, tokens.content.shape[2]), flat, pin),
        _take(tokens.label, rows, pin),
        torch.from_numpy(tokens.row.take(rows)),
        None if features is None else _take(features.reshape(-1, *features.shape[2:]), flat, pin),
    )


def _take(values: Array, rows: Rows, pin: bool) -> torch.Tensor:
    """`values[rows]`, written straight into a tensor; rows are known to be in range."""
    if not pin:
        return torch.from_numpy(values.take(rows, 0))
    kind = torch.from_numpy(values[:0]).dtype
    made = torch.empty((len(rows), *values.shape[1:]), dtype=kind, pin_memory=True)
    values.take(rows, 0, out=made.numpy(), mode="clip")
    return made
