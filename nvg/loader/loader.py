"""Store -> batches in a seeded order, from memory or streamed; a state resumes anywhere.

One sample is about 1 kB, so all of ImageNet is 1.3 GB: preloading beats streaming wherever it fits.
There are no worker processes: every batch would cross a pipe, ten times slower.
"""

from collections.abc import Iterator
from typing import NotRequired, TypedDict

import torch
from torch.utils.data import IterableDataset, get_worker_info

from nvg.errors import InputError
from nvg.loader.deal import Deal, share
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
    nodes: NotRequired[int]
    """Nodes that share the reading when streaming, where there are several: the order depends on
    it."""
    deals: NotRequired[list[list[int]]]
    """Where their number has changed within the epoch: the numbers before, each with the samples
    that they have shown."""
    shares: NotRequired[list[int]]
    """Of a mixture: draws of a block from each store."""


class SequenceLoader(IterableDataset[Sequences]):
    """Iterates over the rest of the current epoch in batches of `Sequences`, then moves on.

    Only rows of `split` appear. Their order depends on (seed, epoch) only, in stream mode on the
    window and the number of nodes too; what other splits the store has does not matter. A state
    counts the samples that all ranks have consumed, so it loads with another world size. Error rows
    never appear. Each epoch samples one view of every row. Every rank gets `batch_size` samples per
    batch. At the end of an epoch an incomplete step is dropped; `drop_last=False` divides it among
    the ranks, so that each sample appears exactly once: all ranks see the same number of batches,
    and the last one may be smaller, or empty.

    In stream mode `nodes` share the chunks: as many consecutive ranks each, whose machine reads the
    node's chunks and no others (`nvg.loader.deal`). Ranks of one machine share the page cache, and
    what is fetched over the network by the cache of `nvg.loader.chunk_cache`. With the same number
    of nodes a state goes on exactly; with another what is left of the epoch is dealt anew, and none
    is lost or shown twice.

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
        nodes: int = 1,
    ) -> None:
        if batch_size < 1 or window < 1:
            raise ValueError(f"batch_size {batch_size} and window {window} must be at least 1")
        if not 0 <= rank < world_size:
            raise ValueError(f"rank {rank} is not in 0..{world_size - 1}")
        if nodes < 1 or world_size % nodes:
            raise ValueError(f"{world_size} ranks cannot be on {nodes} nodes alike")
        self.reader = TokenReader(store, features, split)
        if split is Split.VAL and not store.count(split):
            raise InputError(
                f"{store.path} has no val rows: set data.heldout, or give the source a val split, "
                "and tokenize again"
            )
        self.count = int(self.reader.counts.sum())
        if self.count == 0:
            raise InputError(f"{store.path} has no rows with tokens in its {split} split")
        if drop_last and self.count < batch_size * world_size:
            raise InputError(
                f"{store.path} has {self.count} usable rows of its {split} split, fewer than "
                f"one batch of {batch_size} x {world_size} ranks: lower batch_size"
            )
        self.batch_size, self.rank, self.world_size = batch_size, rank, world_size
        self.drop_last, self.nodes = drop_last, nodes
        self.deals: list[list[int]] = []
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
            for number, (start, stop) in enumerate(self._spans()):
                if number % workers == own:
                    yield epoch.take(start, stop)
        finally:
            epoch.close()
        self.epoch, self.position, self.deals = self.epoch + 1, 0, []

    def state_dict(self) -> LoaderState:
        """The place after the last batch that was returned."""
        state: LoaderState = {"seed": self.seed, "epoch": self.epoch, "position": self.position}
        state["mode"] = self.mode.value
        if self.mode is LoaderMode.STREAM:
            state["window"] = self.window
            if self.nodes > 1:
                state["nodes"] = self.nodes
            if self.deals:
                state["deals"] = [list(deal) for deal in self.deals]
        return state

    def load_state_dict(self, state: LoaderState) -> None:
        """Go to the place of a state, perhaps of another world size or number of nodes.

        The loader streams or preloads as the state says, since the order depends on it.
        """
        self.seed, self.epoch = state["seed"], state["epoch"]
        self.position = state["position"]
        window = state.get("window", 0)
        self.mode = LoaderMode(state.get("mode", "stream" if window else "memory"))
        self.window = window or self.window
        self.deals = [list(deal) for deal in state.get("deals", [])]
        before, shown = state.get("nodes", 1), self.position - self._dealt
        if self.mode is LoaderMode.STREAM and before != self.nodes and shown:
            self.deals.append([before, shown])

    def stream(self) -> None:
        """Stream from now on: where one rank must, all must, since the order depends on it."""
        self.mode = LoaderMode.STREAM

    def _open_epoch(self) -> Epoch:
        if self.mode is LoaderMode.STREAM:
            node = self.rank // self._node_ranks
            start = share(self.position - self._dealt, self.nodes, node)
            return StreamEpoch(self.reader, self._deal(), node, start, self.pin)
        if self._tokens is None:
            self._tokens = preload(self.reader)
        return MemoryEpoch(self._tokens, self.seed, self.epoch, self.pin)

    def _deal(self) -> Deal:
        """How what is left of the epoch is shared out."""
        numbers = [*(nodes for nodes, _ in self.deals), self.nodes]
        deal = Deal(self.reader.pieces, self.seed, self.epoch, self.window, numbers[0])
        for (_, shown), nodes in zip(self.deals, numbers[1:], strict=True):
            deal = deal.again(shown, nodes)
        return deal

    @property
    def _dealt(self) -> int:
        """Samples of the epoch that were shown by other numbers of nodes."""
        return sum(shown for _, shown in self.deals)

    @property
    def _node_ranks(self) -> int:
        """Ranks that take their samples from one order: those of a node, from memory all."""
        return self.world_size // (self.nodes if self.mode is LoaderMode.STREAM else 1)

    def _spans(self) -> Iterator[tuple[int, int]]:
        """This rank's part [start, stop) of what its node shows, step by step to the end of the
        epoch; each has moved the position to where the step ends."""
        step, ranks, dealt = self.batch_size * self.world_size, self._node_ranks, self._dealt
        nodes, (node, own) = self.world_size // ranks, divmod(self.rank, ranks)
        first = share(self.position - dealt, nodes, node)
        while (left := self.count - self.position) >= (step if self.drop_last else 1):
            self.position += min(step, left)
            last = share(self.position - dealt, nodes, node)
            each, more = divmod(last - first, ranks)
            start = first + own * each + min(own, more)
            yield start, start + each + (own < more)
            first = last
