"""Batches of several sources of a store in given shares, to be continued anywhere.

Each source is visited in epochs of its own: all of its rows once, in a new order, then again. Which
sample a draw is depends on the number of the draw, the seed, the shares, and in stream mode the
window; so a state is that number, valid for any batch size and number of ranks.

When streaming, nodes share the chunks of each source (`nvg.loader.deal`), and each node has draws
of its own. With another number of nodes a state goes on at the same place of each source's epoch in
another order: in that epoch a sample may come once more or once less.
"""

from collections.abc import Iterator, Sequence

import numpy as np
import torch

from nvg.errors import InputError
from nvg.loader.deal import Deal, share
from nvg.loader.epoch import Epoch, MemoryEpoch, StreamEpoch
from nvg.loader.loader import WINDOW, LoaderState
from nvg.loader.mode import LoaderMode
from nvg.loader.preload import bytes_of, free_bytes, preload
from nvg.loader.shares import Counts, Shares
from nvg.loader.token_reader import TokenReader, Tokens
from nvg.seeding import step_seed
from nvg.sequence import Sequences
from nvg.store import Store


class MixtureLoader:
    """Endless batches: rows to train on of each span of rows, in the proportion of `weights`.

    Batches of all ranks of a node, one after another, are its draws of a step; from memory those of
    all ranks are. InputError for a span without a row to train on, or a weight that is no positive
    number.
    """

    def __init__(
        self,
        store: Store,
        spans: Sequence[tuple[int, int]],
        weights: Sequence[float],
        batch_size: int,
        seed: int = 0,
        rank: int = 0,
        world_size: int = 1,
        mode: LoaderMode = LoaderMode.AUTO,
        window: int = WINDOW,
        pin: bool | None = None,
        features: bool = False,
        nodes: int = 1,
    ) -> None:
        if batch_size < 1 or not 0 <= rank < world_size or len(spans) != len(weights):
            raise ValueError(f"batch {batch_size}, rank {rank} of {world_size}, {len(spans)} spans")
        if nodes < 1 or world_size % nodes:
            raise ValueError(f"{world_size} ranks cannot be on {nodes} nodes alike")
        self.shares = Shares(weights, seed)
        self.readers = [TokenReader(store, features, rows=span) for span in spans]
        for number, reader in enumerate(self.readers):
            if not reader.counts.sum():
                raise InputError(
                    f"store {number + 1} of {store.path} has no row to train on: leave it out"
                )
        self.batch_size, self.rank, self.world_size = batch_size, rank, world_size
        self.seed, self.position, self.window = seed, 0, window
        counts = [int(reader.counts.sum()) for reader in self.readers]
        self.nodes = nodes if min(counts) >= nodes else 1
        needed = sum(bytes_of(reader) for reader in self.readers)
        self.mode = mode.settled(needed, free_bytes())
        self.pin = torch.cuda.is_available() if pin is None else pin
        self._sources: list[_Source] = []

    def __iter__(self) -> Iterator[Sequences]:
        try:
            while True:
                nodes, node, own = self._place
                start = share(self.position, nodes, node) + own * self.batch_size
                self.position += self.batch_size * self.world_size
                yield self._batch(start, start + self.batch_size)
        finally:
            self._close()

    def state_dict(self) -> LoaderState:
        """The place after the last batch that was returned."""
        state: LoaderState = {"seed": self.seed, "epoch": 0, "position": self.position}
        state["mode"] = self.mode.value
        state["shares"] = self.shares.counts.tolist()
        if self.mode is LoaderMode.STREAM:
            state["window"] = self.window
            if self.nodes > 1:
                state["nodes"] = self.nodes
        return state

    def load_state_dict(self, state: LoaderState) -> None:
        """Go to the place of a state, perhaps of another world size or number of nodes.

        InputError for that of a training on other shares, or on one store.
        """
        if state["seed"] != self.seed or state.get("shares") != self.shares.counts.tolist():
            raise InputError(
                "the run was begun with another seed or other --weights: give the same"
            )
        self._close()
        self.position = state["position"]
        self.mode = LoaderMode(state.get("mode", LoaderMode.MEMORY))
        self.window = state.get("window", self.window)

    def source_seed(self, number: int) -> int:
        """The seed of the order of one source."""
        return step_seed(self.seed, number)

    def stream(self) -> None:
        """Stream from now on: where one rank must, all must, since the order depends on it."""
        self._close()
        self.mode = LoaderMode.STREAM

    @property
    def _place(self) -> tuple[int, int, int]:
        """Nodes that have draws of their own, which one this is, and the rank within it."""
        nodes = self.nodes if self.mode is LoaderMode.STREAM else 1
        return nodes, *divmod(self.rank, self.world_size // nodes)

    def _batch(self, start: int, stop: int) -> Sequences:
        """The samples of these draws, in their order."""
        if not self._sources:
            nodes, node, _ = self._place
            self._sources = [
                _Source(reader, self.source_seed(number), self.window, self.mode, nodes, node)
                for number, reader in enumerate(self.readers)
            ]
        drawn, first = self.shares.sources(start, stop), self.shares.before(start)
        counts: Counts = np.bincount(drawn, minlength=len(first))
        parts = [
            source.take(int(first[n]), int(first[n] + counts[n]))
            for n, source in enumerate(self._sources)
            if counts[n]
        ]
        by_draw = np.empty(len(drawn), np.int64)
        by_draw[np.argsort(drawn, kind="stable")] = np.arange(len(drawn))
        batch = Sequences.join(parts).take(torch.from_numpy(by_draw))
        return _pinned(batch) if self.pin else batch

    def _close(self) -> None:
        for source in self._sources:
            source.close()
        self._sources = []


class _Source:
    """A node's samples of one source by the number of its draw from it, asked for in order."""

    def __init__(
        self,
        reader: TokenReader,
        seed: int,
        window: int,
        mode: LoaderMode,
        nodes: int,
        node: int,
    ) -> None:
        self.reader, self.seed, self.window = reader, seed, window
        self.nodes, self.node = nodes, node
        self.count = share(int(reader.counts.sum()), nodes, node)
        self.tokens: Tokens | None = preload(reader) if mode is LoaderMode.MEMORY else None
        self.number = -1
        self.epoch: Epoch | None = None

    def take(self, first: int, last: int) -> Sequences:
        """Samples first..last-1: the rest of an epoch, then the next ones."""
        parts = []
        while first < last:
            number, at = divmod(first, self.count)
            stop = min(last, (number + 1) * self.count)
            parts.append(self._opened(number, at).take(at, at + stop - first))
            first = stop
        return parts[0] if len(parts) == 1 else Sequences.join(parts)

    def close(self) -> None:
        """Let go of what is being read ahead."""
        if self.epoch:
            self.epoch.close()

    def _opened(self, number: int, at: int) -> Epoch:
        if self.epoch is None or number != self.number:
            self.close()
            self.number = number
            self.epoch = (
                MemoryEpoch(self.tokens, self.seed, number, pin=False)
                if self.tokens
                else self._streamed(number, at)
            )
        return self.epoch

    def _streamed(self, number: int, at: int) -> StreamEpoch:
        deal = Deal(self.reader.pieces, self.seed, number, self.window, self.nodes)
        return StreamEpoch(self.reader, deal, self.node, at, pin=False)


def _pinned(batch: Sequences) -> Sequences:
    """The batch in memory that a GPU copies from by itself."""
    parts = {name: value for name, value in vars(batch).items() if value is not None}
    return Sequences(**{n: v if n == "row" else v.pin_memory() for n, v in parts.items()})
