"""Store -> batches: in a seeded order, from memory or streamed, to be continued anywhere.

One sample is about 1 kB, so all of ImageNet is 1.3 GB: preloading wins over any streaming wherever
it fits. Worker processes would cost a factor of ten (every batch crosses a pipe), hence none.
"""

from collections.abc import Iterator
from enum import StrEnum
from typing import NotRequired, TypedDict

import torch
from torch.utils.data import IterableDataset, get_worker_info

from nvg.errors import InputError
from nvg.loader.epoch import Epoch, MemoryEpoch, StreamEpoch
from nvg.loader.preload import bytes_of, free_bytes, preload
from nvg.loader.token_reader import TokenReader, Tokens
from nvg.sequence import Sequences
from nvg.store import Store

WINDOW = 16  # chunks whose rows a streamed batch mixes
MOST_MEMORY = 0.5  # share of the free memory that a preloaded store may take


class LoaderMode(StrEnum):
    """Where rows come from."""

    AUTO = "auto"
    """Memory when the store takes no more than half of what is free, else stream."""
    MEMORY = "memory"
    STREAM = "stream"


class LoaderState(TypedDict):
    """Where a loader is: plain integers, valid for any world size and batch."""

    seed: int
    epoch: int
    position: int
    window: NotRequired[int]
    """Chunks to a window when streaming, 0 from memory: the order depends on it."""


class SequenceLoader(IterableDataset[Sequences]):
    """Iterates over the rest of the current epoch in batches of `Sequences`, then moves on.

    The order depends on (seed, epoch) only, in stream mode on the window too; `position` counts
    samples consumed by all ranks, so a state may be loaded with another world size. Rows with an
    error status never appear, and of a row's views one is drawn each epoch. Every rank gets
    `batch_size` samples per batch; at the end of an epoch an incomplete step is dropped, or with
    `drop_last=False` shared out, so that each sample appears exactly once: ranks then still see the
    same number of batches, the last of which may be smaller, and empty.

    In stream mode every rank reads every chunk and keeps its own rows of it: ranks of one machine
    share the page cache, from object storage each fetches the store once an epoch.

    As an `IterableDataset` it may be given to a torch DataLoader with `batch_size=None`; its worker
    processes take the batches in turn, and then only the number of epochs can be kept in a state.

    With `features` batches also carry what the store keeps for alignment.

    StoreError for an unfinished or damaged store, InputError when it has too few rows.
    """

    def __init__(
        self,
        store: Store,
        batch_size: int,
        seed: int = 0,
        rank: int = 0,
        world_size: int = 1,
        drop_last: bool = True,
        mode: LoaderMode = LoaderMode.AUTO,
        window: int = WINDOW,
        pin: bool | None = None,
        features: bool = False,
    ) -> None:
        if batch_size < 1 or window < 1:
            raise ValueError(f"batch_size {batch_size} and window {window} must be at least 1")
        if not 0 <= rank < world_size:
            raise ValueError(f"rank {rank} is not in 0..{world_size - 1}")
        self.reader = TokenReader(store, features)
        self.count = int(self.reader.counts.sum())
        if self.count == 0 or (drop_last and self.count < batch_size * world_size):
            raise InputError(
                f"{store.path} has {self.count} usable rows, fewer than one batch of "
                f"{batch_size} x {world_size} ranks"
            )
        self.batch_size, self.rank, self.world_size = batch_size, rank, world_size
        self.drop_last = drop_last
        self.geometry = store.geometry
        self.seed, self.epoch, self.position = seed, 0, 0
        fits = bytes_of(self.reader) <= MOST_MEMORY * free_bytes()
        in_memory = mode is LoaderMode.MEMORY or (mode is LoaderMode.AUTO and fits)
        self.window = 0 if in_memory else window
        self.pin = torch.cuda.is_available() if pin is None else pin
        self._tokens: Tokens | None = None

    def __len__(self) -> int:
        """Batches of a whole epoch."""
        step = self.batch_size * self.world_size
        return self.count // step if self.drop_last else -(-self.count // step)

    def __iter__(self) -> Iterator[Sequences]:
        worker = get_worker_info()
        share, workers = (worker.id, worker.num_workers) if worker else (0, 1)
        epoch = self._open_epoch()
        try:
            number = 0
            while (span := self._next_span()) is not None:
                start, stop, self.position = span
                if number % workers == share:
                    yield epoch.take(start, stop)
                number += 1
        finally:
            epoch.close()
        self.epoch, self.position = self.epoch + 1, 0

    def state_dict(self) -> LoaderState:
        """The place after the last batch handed out."""
        place: LoaderState = {"seed": self.seed, "epoch": self.epoch, "position": self.position}
        return place | {"window": self.window}

    def load_state_dict(self, state: LoaderState) -> None:
        """Go to a place that `state_dict` named, perhaps of another world size.

        The loader streams or preloads as the one did that named it, since the order depends on it.
        """
        self.seed, self.epoch = state["seed"], state["epoch"]
        self.position = state["position"]
        self.window = state.get("window", 0)

    def _open_epoch(self) -> Epoch:
        if self.window:
            return StreamEpoch(
                self.reader, self.seed, self.epoch, self.window, self.position, self.pin
            )
        if self._tokens is None:
            self._tokens = preload(self.reader)
        return MemoryEpoch(self._tokens, self.seed, self.epoch, self.pin)

    def _next_span(self) -> tuple[int, int, int] | None:
        """This rank's part [start, stop) of the next step, and where that step ends."""
        left = self.count - self.position
        step = self.batch_size * self.world_size
        if left < (step if self.drop_last else 1):
            return None
        if left >= step:
            start = self.position + self.rank * self.batch_size
            return start, start + self.batch_size, self.position + step
        each, more = divmod(left, self.world_size)
        start = self.position + self.rank * each + min(self.rank, more)
        return start, start + each + (self.rank < more), self.count
