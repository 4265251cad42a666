"""How the nodes of a training share the chunks of an epoch, so that one node alone reads each.

A deal is a list of pieces, cut into as many spans of samples as there are nodes: as even as whole
samples can be, so that a chunk is read by two nodes where a cut goes through it, and all others by
one. Which node has which chunks is the same in every epoch: what it has cached serves it again.
Each node visits its pieces in an order of its own, in windows whose rows are shuffled together.

When the number of nodes changes within an epoch, what no node has shown yet is dealt anew. So a
place in an epoch is how many samples each deal of it has shown, and on how many nodes.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from nvg.seeding import Rows, part_order, permutation

NODE, DEAL = 1 << 32, 1 << 48  # how far the windows of two nodes, and of two deals, are apart
PIECES = NODE - 1  # in the place of a window: the order of a node's pieces


class Piece(NamedTuple):
    """Some of the valid rows of a chunk, by their number among them, ascending."""

    chunk: int
    rows: range | Rows

    @property
    def key(self) -> slice | Rows:
        """The rows to index an array with."""
        rows = self.rows
        return slice(rows.start, rows.stop) if isinstance(rows, range) else rows


def share(count: int, nodes: int, node: int) -> int:
    """How many of so many samples are a node's: as even as can be, more for the first ones."""
    return count // nodes + (node < count % nodes)


@dataclass(frozen=True)
class Deal:
    """The order in which nodes show pieces: a function of these values."""

    pieces: Sequence[Piece]
    seed: int
    epoch: int
    window: int
    """Pieces whose rows are shuffled together."""
    nodes: int = 1
    number: int = 0
    """How many deals of the epoch came before."""

    @cached_property
    def count(self) -> int:
        """Samples of all nodes."""
        return sum(len(piece.rows) for piece in self.pieces)

    def windows(self, node: int) -> list[list[Piece]]:
        """What a node shows, window after window."""
        own = self._ordered(self._spans[node], node)
        return [own[first : first + self.window] for first in range(0, len(own), self.window)]

    def rows(self, node: int, window: int, count: int, views: int) -> tuple[Rows, Rows]:
        """The order of the rows of a window, and the view of each."""
        part = self._place(node) + window
        return part_order(count, views, self.seed, self.epoch, part)

    def again(self, shown: int, nodes: int) -> "Deal":
        """A deal of what is left when all nodes together have shown so many samples."""
        left = [
            piece
            for node in range(self.nodes)
            for piece in self._left(node, self._own(shown, node))
        ]
        return Deal(left, self.seed, self.epoch, self.window, nodes, self.number + 1)

    def _own(self, count: int, node: int) -> int:
        return share(count, self.nodes, node)

    def _place(self, node: int) -> int:
        return self.number * DEAL + node * NODE

    @cached_property
    def _spans(self) -> list[list[Piece]]:
        """The pieces of each node."""
        if self.nodes == 1:
            return [list(self.pieces)]
        mixed = permutation(len(self.pieces), self.seed, 0)
        pieces = [self.pieces[n] for n in mixed.tolist()]
        ends = np.cumsum([len(piece.rows) for piece in pieces])
        sizes = [self._own(self.count, node) for node in range(self.nodes)]
        return [list(_between(pieces, ends, *cut)) for cut in pairwise(np.cumsum([0, *sizes]))]

    def _ordered(self, pieces: list[Piece], node: int) -> list[Piece]:
        if self.nodes == 1 and self.number == 0:
            order = permutation(len(pieces), self.seed, self.epoch)
        else:
            part = self._place(node) + PIECES
            order, _ = part_order(len(pieces), 1, self.seed, self.epoch, part)
        return [pieces[n] for n in order.tolist()]

    def _left(self, node: int, shown: int) -> Iterator[Piece]:
        """What a node has not shown after so many samples: of an open window some rows."""
        for number, window in enumerate(self.windows(node)):
            count = sum(len(piece.rows) for piece in window)
            if shown <= 0:
                yield from window
            elif shown < count:
                order, _ = self.rows(node, number, count, 1)
                yield from _some(window, np.sort(order[shown:]))
            shown -= count


def _between(pieces: list[Piece], ends: Rows, first: int, stop: int) -> Iterator[Piece]:
    """The samples first..stop-1 of pieces that end at `ends`."""
    begun = np.searchsorted(ends, first, side="right")
    for piece, end in zip(pieces[begun:], ends[begun:].tolist(), strict=True):
        begin = end - len(piece.rows)
        if begin >= stop:
            return
        rows = piece.rows[max(first - begin, 0) : stop - begin]
        if len(rows):
            yield Piece(piece.chunk, rows)


def _some(window: list[Piece], kept: Rows) -> Iterator[Piece]:
    """The rows of a window that are kept, by their number in it, ascending."""
    begin = 0
    for piece in window:
        first, stop = np.searchsorted(kept, (begin, begin + len(piece.rows)))
        if stop > first:
            yield Piece(piece.chunk, np.asarray(piece.rows)[kept[first:stop] - begin])
        begin += len(piece.rows)
