"""Store -> batches in a seeded order, from memory or streamed; a state resumes anywhere.

One sample is about 1 kB, so all of ImageNet is 1.3 GB: preloading beats streaming wherever it fits.
There are no worker processes: every batch would cross a pipe, ten times slower.
"""

from collections.abc import Iterator
from typing import NotRequired, TypedDict

import torch
from torch.utils.data import IterableDataset, get_worker_info

from nvg.errors import InputError
from nvg.loader.epoch import Epoch, MemoryEpoch, StreamEpoch
from nvg.loader.mode import LoaderMode
from nvg.loader.preload import bytes_of, free_bytes, preload
from nvg.loader.token_reader import TokenReader, Tokens
from nvg.sequence import Sequences
from nvg.store import Split, Store

WINDOW = 16  # chunks whose rows a streamed batch mixes


class LoaderState(TypedDict):
    """The place of a loader, valid for any world size and batch size."""

    seed: int
    epoch: int
    position: int
    """Samples of the epoch that all ranks have consumed."""
    mode: NotRequired[str]
    """LoaderMode, memory or stream: the order depends on it. Version 0.1 wrote `window` only."""
    window: NotRequired[int]
    """Chunks per window when streaming: the order depends on it. 0 in version 0.1: memory."""
    shares: NotRequired[list[int]]
    """Of a mixture: draws of a block from each store."""


class SequenceLoader(IterableDataset[Sequences]):
    """Iterates over the rest of the current epoch in batches of `Sequences`, then moves on.

    Only rows of `split` appear. Their order depends on (seed, epoch) only, in stream mode on the
    window too; what other splits the store has does not matter. A state counts the
    samples that all ranks have consumed, so it loads with another world size. Error rows never
    appear. Each epoch samples one view of every row. Every rank gets `batch_size` samples per
    batch. At the end of an epoch an incomplete step is dropped; `drop_last=False` divides it among
    the ranks, so that each sample appears exactly once: all ranks see the same number of batches,
    and the last one may be smaller, or empty.

    In stream mode every rank reads every chunk and keeps its own rows. Ranks of one machine share
    the page cache; from object storage each rank fetches the whole store once an epoch.

    As an `IterableDataset` it works in a torch DataLoader with `batch_size=None`. Its worker
    processes take the batches in turn, and a state then knows the number of epochs only.

    With `features`, batches also carry the patch features of the store (REPA).

    StoreError for an unfinished or damaged store, InputError when the split has too few rows.
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
        split: Split = Split.TRAIN,
    ) -> None:
        if batch_size < 1 or window < 1:
            raise ValueError(f"batch_size {batch_size} and window {window} must be at least 1")
        if not 0 <= rank < world_size:
            raise ValueError(f"rank {rank} is not in 0..{world_size - 1}")
        self.reader = TokenReader(store, features, split)
        if split is Split.VAL and not store.count(split):
            raise InputError(
                f"{store.path} has no val rows: set data.heldout, or give the source a val split, "
                "and tokenize again"
            )
        self.count = int(self.reader.counts.sum())
        if self.count == 0 or (drop_last and self.count < batch_size * world_size):
            raise InputError(
                f"{store.path} has {self.count} usable rows of its {split} split, fewer than "
                f"one batch of {batch_size} x {world_size} ranks"
            )
        self.batch_size, self.rank, self.world_size = batch_size, rank, world_size
        self.drop_last = drop_last
        self.geometry = store.geometry
        self.seed, self.epoch, self.position = seed, 0, 0
        self.mode = mode.settled(bytes_of(self.reader), free_bytes())
        self.window = window
        self.pin = torch.cuda.is_available() if pin is None else pin
        self._tokens: Tokens | None = None

    def __len__(self) -> int:
        """Batches of a whole epoch."""
        step = self.batch_size * self.world_size
        return self.count // step if self.drop_last else -(-self.count // step)

    def __iter__(self) -> Iterator[Sequences]:
        worker = get_worker_info()
        own, workers = (worker.id, worker.num_workers) if worker else (0, 1)
        epoch = self._open_epoch()
        try:
            number = 0
            while (span := self._next_span()) is not None:
                start, stop, self.position = span
                if number % workers == own:
                    yield epoch.take(start, stop)
                number += 1
        finally:
            epoch.close()
        self.epoch, self.position = self.epoch + 1, 0

    def state_dict(self) -> LoaderState:
        """The place after the last batch that was returned."""
        state: LoaderState = {"seed": self.seed, "epoch": self.epoch, "position": self.position}
        state["mode"] = self.mode.value
        if self.mode is LoaderMode.STREAM:
            state["window"] = self.window
        return state

    def load_state_dict(self, state: LoaderState) -> None:
        """Go to the place of a state, perhaps of another world size.

        The loader streams or preloads as the state says, since the order depends on it.
        """
        self.seed, self.epoch = state["seed"], state["epoch"]
        self.position = state["position"]
        window = state.get("window", 0)
        self.mode = LoaderMode(state.get("mode", "stream" if window else "memory"))
        self.window = window or self.window

    def stream(self) -> None:
        """Stream from now on: where one rank must, all must, since the order depends on it."""
        self.mode = LoaderMode.STREAM

    def _open_epoch(self) -> Epoch:
        if self.mode is LoaderMode.STREAM:
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
