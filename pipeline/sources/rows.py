"""Rows of a source by their numbers, made when asked for: a plan of millions stays small."""

from abc import ABC, abstractmethod
from array import array
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from typing import Any, Protocol, overload

import numpy as np

from nvg.store import Split
from pipeline.sources.base import Row, SourceError

Numbers = np.ndarray[Any, np.dtype[np.int64]]
Flags = np.ndarray[Any, np.dtype[np.bool_]]
Entry = tuple[str, int]
"""Key and class id of an image."""

BLOCK = 4096  # rows that are made at once while all are gone through


class Listing(Protocol):
    """What tells the images of a source by their numbers, 0 to the last."""

    def __len__(self) -> int: ...

    def entries(self, numbers: Numbers) -> list[Entry]:
        """Those of some numbers, in the order given."""


class Columns:
    """A listing in memory: keys as one text, 12 bytes an image beside its key."""

    def __init__(self, entries: Iterable[Entry]) -> None:
        text, ends, labels = bytearray(), array("q", [0]), array("i")
        for key, label in entries:
            text += key.encode(errors="surrogatepass")
            ends.append(len(text))
            labels.append(label)
        # As numpy's, they travel to workers of one machine without a copy for each.
        self.text = np.frombuffer(bytes(text), np.uint8)
        self.ends, self.labels = np.array(ends, np.int64), np.array(labels, np.int32)

    def __len__(self) -> int:
        return len(self.labels)

    def entries(self, numbers: Numbers) -> list[Entry]:
        """Key and label of each."""
        starts, ends = self.ends[numbers].tolist(), self.ends[numbers + 1].tolist()
        keys = (
            self.text[start:end].tobytes().decode(errors="surrogatepass")
            for start, end in zip(starts, ends, strict=True)
        )
        return list(zip(keys, self.labels[numbers].tolist(), strict=True))


class PartListing(ABC):
    """A listing of parts (files) that are listed anew when rows of them are asked for."""

    def __init__(self, counts: Sequence[int]) -> None:
        self.ends = np.cumsum(np.array(counts, np.int64))

    def __len__(self) -> int:
        return int(self.ends[-1]) if len(self.ends) else 0

    @abstractmethod
    def part(self, part: int, first: int, stop: int) -> list[Entry]:
        """Some images of a part, by their numbers in it."""

    def entries(self, numbers: Numbers) -> list[Entry]:
        """Each part is listed once, whatever the order."""
        parts = np.searchsorted(self.ends, numbers, side="right")
        found: list[Entry] = [("", -1)] * len(numbers)
        for part in np.unique(parts).tolist():
            places = np.flatnonzero(parts == part)
            own = numbers[places] - (self.ends[part - 1] if part else 0)
            first = int(own.min())
            listed = self.part(part, first, int(own.max()) + 1)
            for place, number in zip(places.tolist(), (own - first).tolist(), strict=True):
                found[place] = listed[number]
        return found


def has_changed(file: object) -> SourceError:
    """What to raise where a file has other images than it had when they were counted."""
    return SourceError(f"{file} has changed since its images were counted: start again")


class Rows(Sequence[Row]):
    """A sequence of rows that keeps runs of numbers, and asks its listing for the rows themselves.

    A run takes 25 bytes: slices and rows that are left out cost little, however many rows there
    are. A split is of a run, whatever the listing says.
    """

    def __init__(self, listing: Listing, firsts: Numbers, counts: Numbers, held: Flags) -> None:
        self.listing = listing
        self.firsts, self.counts, self.held = firsts, counts, held
        self.ends = np.cumsum(counts, dtype=np.int64)

    @staticmethod
    def of(rows: Iterable[Row]) -> "Rows":
        """The rows in memory, without an object for each; `Rows` as they are."""
        if isinstance(rows, Rows):
            return rows
        held = array("b")

        def entries() -> Iterator[Entry]:
            for row in rows:
                held.append(row.split is Split.VAL)
                yield row.key, row.label

        listing = Columns(entries())
        return Rows.split(listing, np.array(held, np.bool_), np.ones(len(listing), np.int64))

    @staticmethod
    def split(listing: Listing, heldout: Any, counts: Any) -> "Rows":
        """All rows of a listing, of which consecutive runs are held out or not."""
        held: Flags = np.asarray(heldout, np.bool_)
        counts = np.asarray(counts, np.int64)
        held, counts = held[counts > 0], counts[counts > 0]
        is_first = np.ones(len(held), np.bool_)
        is_first[1:] = held[1:] != held[:-1]
        starts = np.flatnonzero(is_first)
        counts = np.add.reduceat(counts, starts) if len(starts) else counts
        return Rows(listing, np.cumsum(counts) - counts, counts, held[starts])

    def __len__(self) -> int:
        return int(self.ends[-1]) if len(self.ends) else 0

    @overload
    def __getitem__(self, index: int) -> Row: ...
    @overload
    def __getitem__(self, index: slice) -> "Rows": ...
    def __getitem__(self, index: int | slice) -> "Row | Rows":
        if not isinstance(index, slice):
            place = range(len(self))[index]
            return self.take(np.array([place]))._made()[0]
        places = range(len(self))[index]
        if places.step != 1:
            return self.take(np.array(places, np.int64))
        if not len(places):
            return self._runs(slice(0))
        low = int(np.searchsorted(self.ends, places.start, side="right"))
        high = int(np.searchsorted(self.ends, places.stop, side="left")) + 1
        found = self._runs(slice(low, high))
        before = places.start - int(self.ends[low] - self.counts[low])
        firsts, counts = found.firsts.copy(), found.counts.copy()
        firsts[0] += before
        counts[0] -= before
        counts[-1] -= int(self.ends[high - 1]) - places.stop
        return Rows(self.listing, firsts, counts, found.held)

    def __iter__(self) -> Iterator[Row]:
        for start in range(0, len(self), BLOCK):
            yield from self[start : start + BLOCK]._made()

    def __add__(self, other: Iterable[Row]) -> "Rows":
        if not isinstance(other, Rows) or other.listing is not self.listing:
            return Rows.of(chain(self, other))
        parts = ((self.firsts, other.firsts), (self.counts, other.counts))
        firsts, counts = (np.concatenate(pair) for pair in parts)
        return Rows(self.listing, firsts, counts, np.concatenate([self.held, other.held]))

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Sequence) or len(self) != len(other):
            return False
        return all(one == same for one, same in zip(self, other, strict=True))

    def __repr__(self) -> str:
        return f"Rows({[*self[:3]]}{', ...' * (len(self) > 3)}: {len(self)})"

    def take(self, places: Numbers) -> "Rows":
        """The rows at some places, in the order given."""
        runs = np.searchsorted(self.ends, places, side="right")
        numbers = self.firsts[runs] + places - (self.ends - self.counts)[runs]
        return Rows(self.listing, numbers, np.ones_like(numbers), self.held[runs])

    def without(self, places: Numbers) -> "Rows":
        """The rows but those at some places, which ascend."""
        starts = np.concatenate([self.ends - self.counts, places + 1])
        stops = np.concatenate([places, self.ends])
        starts.sort(kind="stable")  # two ascending runs: this merges them
        stops.sort(kind="stable")
        is_left = starts < stops
        found = self.take(starts[is_left])
        return Rows(self.listing, found.firsts, (stops - starts)[is_left], found.held)

    def in_blocks(self, order: Numbers, size: int) -> "Rows":
        """Blocks of `size` neighbours in another order; the last block may be shorter."""
        starts = np.union1d(self.ends - self.counts, np.arange(0, len(self), size))
        counts, rank = np.diff(starts, append=len(self)), np.empty_like(order)
        rank[order] = np.arange(len(order))
        places = np.argsort(rank[starts // size], kind="stable")
        found = self.take(starts[places])
        return Rows(self.listing, found.firsts, counts[places], found.held)

    def of_split(self, split: Split) -> "Rows":
        """Those of one split."""
        return self._runs(self.held == (split is Split.VAL))

    def held_out(self) -> "Rows":
        """The same rows, all held out."""
        return Rows(self.listing, self.firsts, self.counts, np.ones_like(self.held))

    def splits(self) -> set[Split]:
        """Those that a row is of."""
        return {Split.VAL if held else Split.TRAIN for held in np.unique(self.held).tolist()}

    def loaded(self) -> "Rows":
        """The same rows out of memory, for access in any order: each part is listed once."""
        if isinstance(self.listing, Columns):
            return self
        listing = Columns((row.key, row.label) for row in self)
        return Rows.split(listing, self.held, self.counts)

    def _runs(self, which: slice | Flags) -> "Rows":
        return Rows(self.listing, self.firsts[which], self.counts[which], self.held[which])

    def _made(self) -> list[Row]:
        """The rows themselves."""
        starts = self.ends - self.counts
        numbers = np.repeat(self.firsts - starts, self.counts) + np.arange(len(self))
        splits = [Split.VAL if h else Split.TRAIN for h in np.repeat(self.held, self.counts)]
        found = self.listing.entries(numbers)
        return [Row(*entry, split) for entry, split in zip(found, splits, strict=True)]


def split_rows(rows: Sequence[Row], heldout: int) -> tuple[Rows, Rows]:
    """(rows to train on, rows held out): the val split of the source, or else every n-th row."""
    rows = Rows.of(rows)
    if own := rows.of_split(Split.VAL):
        if heldout:
            raise SourceError(
                f"data.heldout is {heldout}, but the source has a val split of its own with "
                f"{len(own)} images: set data.heldout = 0"
            )
        return rows.of_split(Split.TRAIN), own
    if heldout == 0:
        return rows, rows[:0]
    if not 0 < heldout <= len(rows) // 2:
        raise SourceError(f"data.heldout {heldout} must be 0..{len(rows) // 2}, half of the images")
    kept = np.arange(heldout, dtype=np.int64) * len(rows) // heldout
    return rows.without(kept), rows.take(kept)
