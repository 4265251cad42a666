"""Store -> batches: the whole store in memory, gathered batch by batch in a seeded order.

One sample is about 1 kB, so all of ImageNet is 1.3 GB: preloading wins over any streaming. Worker
processes would cost a factor of ten here (every batch crosses a pipe), hence none.
"""

from collections.abc import Iterator
from typing import TypedDict

import numpy as np
import torch

from nvg.errors import InputError
from nvg.order import Rows, permutation, view_choice
from nvg.sequence import Sequences
from nvg.store import Store


class LoaderState(TypedDict):
    """Where a loader is: three integers, valid for any world size."""

    seed: int
    epoch: int
    position: int


class SequenceLoader:
    """Iterates over the rest of the current epoch in batches of `Sequences`, then moves on.

    The order depends on (seed, epoch) only; `position` counts samples consumed by all ranks, so a
    state may be loaded with another world size. Rows with an error status never appear. Every rank
    gets `batch_size` samples per batch; the incomplete last batch is dropped unless
    `drop_last=False`, which needs a world size of 1.
    """

    def __init__(
        self,
        store: Store,
        batch_size: int,
        seed: int = 0,
        rank: int = 0,
        world_size: int = 1,
        drop_last: bool = True,
    ) -> None:
        if batch_size < 1:
            raise ValueError(f"batch_size must be at least 1, not {batch_size}")
        if not 0 <= rank < world_size:
            raise ValueError(f"rank {rank} is not in 0..{world_size - 1}")
        if world_size > 1 and not drop_last:
            raise ValueError("drop_last=False needs a world size of 1: ranks must agree on steps")
        store.require_finished()
        rows = store.ok_rows()
        if len(rows) == 0 or (drop_last and len(rows) < batch_size * world_size):
            raise InputError(
                f"{store.path} has {len(rows)} usable rows, fewer than one batch of "
                f"{batch_size} x {world_size} ranks"
            )
        self.batch_size, self.rank, self.world_size = batch_size, rank, world_size
        self.drop_last = drop_last
        self.seed, self.epoch, self.position = seed, 0, 0
        self.geometry = store.geometry
        self.leaves_NVL = np.ascontiguousarray(store.leaves[:][rows])
        self.content_NVT = np.ascontiguousarray(store.content[:][rows])
        self.label_N = store.label[:][rows]

    def __len__(self) -> int:
        """Batches of a whole epoch."""
        step = self.batch_size * self.world_size
        return len(self.label_N) // step if self.drop_last else -(-len(self.label_N) // step)

    def __iter__(self) -> Iterator[Sequences]:
        count, views = self.leaves_NVL.shape[:2]
        order = permutation(count, self.seed, self.epoch)
        view = view_choice(count, views, self.seed, self.epoch)
        step = self.batch_size * self.world_size
        while self.position + (step if self.drop_last else 1) <= count:
            start = self.position + self.rank * self.batch_size
            rows = order[start : min(start + self.batch_size, count)]
            self.position += step
            yield self._gather(rows, view[rows])
        self.epoch, self.position = self.epoch + 1, 0

    def state_dict(self) -> LoaderState:
        """The place after the last batch handed out."""
        return {"seed": self.seed, "epoch": self.epoch, "position": self.position}

    def load_state_dict(self, state: LoaderState) -> None:
        """Go to a place that `state_dict` named, perhaps of another world size."""
        self.seed, self.epoch = state["seed"], state["epoch"]
        self.position = state["position"]

    def _gather(self, rows: Rows, view: Rows) -> Sequences:
        return Sequences(
            torch.from_numpy(self.leaves_NVL[rows, view]),
            torch.from_numpy(self.content_NVT[rows, view]),
            torch.from_numpy(self.label_N[rows]),
        )
