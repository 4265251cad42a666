"""Reads the valid rows of one split, chunk by chunk, and notices a chunk that is not what it was.

Legend: M vector of a flat list, X view, N position, T token, P component of a stored feature.
"""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import numpy as np

from nvg.format.base import ARRAYS, FEATURES, Arrays, Split, StoreError
from nvg.format.damage import DamageError, reading
from nvg.loader.chunk_files import is_far
from nvg.loader.chunk_reader import ChunkReader
from nvg.loader.deal import Piece
from nvg.loader.pace import Pace
from nvg.loader.scratch import Scratch, Scratches
from nvg.parts.joined_array import renumbered
from nvg.seeding import Rows
from nvg.store import Store
from nvg.store.store_files import Origin, StoreFiles

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Tokens:
    """Rows in memory: leaves [M, X, N], content [M, X, T], label [M], and their numbers row [M]."""

    leaves: np.ndarray[Any, Any]
    content: np.ndarray[Any, Any]
    label: np.ndarray[Any, Any]
    row: np.ndarray[Any, Any]
    features: np.ndarray[Any, Any] | None = None
    """Coded features [M, X, N, P], where they are read."""
    whole: "Tokens | None" = None
    """All of the memory, where these are only the first rows in it."""

    def first(self, rows: int) -> "Tokens":
        """The first rows, which remember the whole."""
        arrays = {name: value[:rows] for name, value in vars(self).items() if value is not None}
        return Tokens(**arrays, whole=self)


class TokenReader:
    """The valid rows of one split of a finished store, by chunk; with its features on demand.

    With `rows` only those from the first to the one before the second.
    """

    def __init__(
        self,
        store: Store,
        with_features: bool = False,
        split: Split = Split.TRAIN,
        rows: tuple[int, int] | None = None,
    ) -> None:
        store.require_finished()
        self.store, self.split = store, split
        self.rows = rows or (0, len(store))
        names = (*ARRAYS, FEATURES) if with_features else ARRAYS
        arrays = {name: store.array(name) for name in names}
        self.kinds = {name: (array.shape[1:], array.dtype) for name, array in arrays.items()}
        """Shape of a row of each array, and its dtype."""
        own, self.counts = store.row_counts(split)
        """Valid rows of each chunk."""
        if rows is not None:
            own, self.counts = own.copy(), self.counts.copy()
            for chunk in range(store.chunks):
                if self._is_cut(chunk):
                    own[chunk] = self.counts[chunk] = self._valid(chunk).sum()
        self.chunks = np.flatnonzero(own)
        """The chunks that hold a row of the split, valid or not."""
        self.pieces = [Piece(n, range(self.counts[n])) for n in self.chunks.tolist()]
        """Each of these chunks, whole."""
        stored = [store.origin(chunk).store for chunk in self.chunks[:1].tolist()]
        self.pace = Pace(any(map(is_far, stored)))
        self._is_possible = np.zeros(store.chunks, bool)
        self._spare: list[Tokens] = []
        self._scratches = Scratches()
        self._readers: dict[str, ChunkReader] = {}
        for first in stored:
            self._reader(first)  # refuses settings of the cache before anything is read

    @property
    def row_bytes(self) -> int:
        """What a row takes in memory."""
        return sum(kind.itemsize * int(np.prod(shape)) for shape, kind in self.kinds.values())

    def windows_ahead(self, window: int) -> int:
        """How many windows of so many chunks to read ahead."""
        rows = int(self.counts.max(initial=0)) * window
        return self.pace.ahead(window, rows * self.row_bytes)

    def empty(self, rows: int) -> Tokens:
        """Uninitialized arrays of so many rows."""
        made: dict[str, Any] = {
            name: np.empty((rows, *shape), kind) for name, (shape, kind) in self.kinds.items()
        }
        return Tokens(**made, row=np.empty(rows, np.int64))

    def read(self, pieces: Sequence[Piece], room: int = 0) -> Tokens:
        """The rows of these pieces, one after another. StoreError for a damaged chunk.

        They lie in memory for at least `room` rows, which may have been given back before.
        """
        tokens = self._memory(sum(len(piece.rows) for piece in pieces), room)
        self.read_into(tokens, pieces)
        return tokens

    def read_into(self, tokens: Tokens, pieces: Sequence[Piece], first: int = 0) -> int:
        """Read pieces to their place in memory, from row `first` on; the row after the last."""
        ends = first + np.cumsum([len(piece.rows) for piece in pieces])
        waiting = iter([*enumerate(zip(pieces, ends.tolist(), strict=True))])
        faults: dict[int, Exception] = {}

        def work() -> None:
            for number, (piece, end) in waiting:  # each comes to one of the threads
                if faults:
                    return
                try:
                    self._fill(tokens, piece, end)
                except Exception as error:
                    faults[number] = error

        beside = min(self.pace.threads, len(pieces)) - 1
        with ThreadPoolExecutor(max(beside, 1)) as pool:
            for _ in range(beside):
                pool.submit(work)
            work()
        if faults:
            raise faults[min(faults)]
        return int(ends[-1]) if len(ends) else first

    def reuse(self, tokens: Tokens) -> None:
        """Tokens that are no more needed, whose memory may be written to again."""
        self._spare.append(tokens.whole or tokens)

    def _memory(self, rows: int, room: int) -> Tokens:
        """Memory that is asked for anew costs as much time as decoding."""
        needed = max(rows, room)
        with suppress(IndexError):  # another thread may take the last one
            while len((tokens := self._spare.pop()).label) < needed:
                pass
            return tokens.first(rows)
        return self.empty(needed).first(rows)

    def _fill(self, tokens: Tokens, piece: Piece, end: int) -> None:
        """Read a piece into the rows before `end`."""
        if not len(piece.rows):
            return
        place, whole = slice(end - len(piece.rows), end), self.store.chunk_slice(piece.chunk)
        into = {name: getattr(tokens, name)[place] for name in self.kinds}
        valid = np.arange(whole.stop - whole.start)
        if not self._is_all(piece.chunk):
            valid = np.flatnonzero(self._valid(piece.chunk))
        try:
            with reading(self.store.path), self._scratches.one() as scratch:
                self._read_piece(piece, valid, into, scratch)
        except DamageError as error:
            raise damaged(self.store, piece.chunk, str(error)) from error
        np.add(valid[piece.key], whole.start, out=tokens.row[place])

    def _read_piece(self, piece: Piece, valid: Rows, into: Arrays, scratch: Scratch) -> None:
        origin = self.store.origin(piece.chunk)
        is_whole = len(valid) == len(piece.rows) == origin.store.manifest.chunk_rows
        stored = into if is_whole else self._reader(origin.store).empty(scratch)
        is_new = self._read_stored(origin, stored, scratch)
        shown = valid if origin.rows is None else origin.rows[valid]
        if is_new or not self._is_possible[piece.chunk]:
            every = slice(None) if is_whole else shown
            found = {name: values[every] for name, values in stored.items()}
            self._require_possible(found, scratch)
            self._is_possible[piece.chunk] = True
        if not is_whole:
            for name, values in stored.items():
                values.take(shown[piece.key], 0, out=into[name], mode="clip")
        if origin.ids is not None:
            into["label"][:] = renumbered(into["label"], origin.ids)

    def _read_stored(self, origin: Origin, into: Arrays, scratch: Scratch) -> bool:
        try:
            return self._reader(origin.store).read(origin.chunk, into, scratch)
        except DamageError as error:
            if origin.store is self.store:
                raise
            raise DamageError(f"{origin.store.path}, chunk {origin.chunk}: {error}") from error

    def _reader(self, store: StoreFiles) -> ChunkReader:
        """The one for a plain store: itself, or a part of a linked one."""
        found = self._readers.get(store.path)
        if found is None:  # two threads may come here: one of theirs is kept
            made = ChunkReader(store, tuple(self.kinds), self.pace)
            found = self._readers.setdefault(store.path, made)
        return found

    def _is_cut(self, chunk: int) -> bool:
        """Whether a chunk has rows outside of those that are read."""
        rows = self.store.chunk_slice(chunk)
        return rows.start < self.rows[0] or rows.stop > self.rows[1]

    def _is_all(self, chunk: int) -> bool:
        """Whether every row of a chunk is read."""
        rows = self.store.chunk_slice(chunk)
        return not self._is_cut(chunk) and int(self.counts[chunk]) == rows.stop - rows.start

    def _valid(self, chunk: int) -> np.ndarray[Any, np.dtype[np.bool_]]:
        """Which rows of a chunk are read, of one of which not all are: by the index."""
        rows = self.store.chunk_slice(chunk)
        number = np.arange(rows.start, rows.stop)
        inside = (number >= self.rows[0]) & (number < self.rows[1])
        return self.store.is_valid(chunk, self.split) & inside if inside.any() else inside

    def _require_possible(self, found: Arrays, scratch: Scratch) -> None:
        """DamageError for committed values that cannot be: beyond the codebook or the classes."""
        manifest = self.store.manifest
        if not may_be_permutation(found["leaves"], scratch):
            raise DamageError("leaves are not a permutation of the positions")
        content, label = found["content"], found["label"]
        if content.max(initial=0) >= manifest.codebook_size:
            raise DamageError(f"token {content.max()} is outside the codebook")
        if len(label) and not (label.min() >= -1 and label.max() < len(manifest.classes)):
            raise DamageError("a label is none of the classes")


def may_be_permutation(leaves: Array, scratch: Scratch) -> bool:
    """Whether rows [..., N] have the sum and the sum of squares of 0..N-1; a sort takes longer."""
    is_small = leaves.dtype == np.uint8  # 256 squares are below 2^24
    exact = np.dtype(np.float32 if is_small else np.float64)
    values = scratch.array("exact", (leaves.size // leaves.shape[-1], leaves.shape[-1]), exact)
    np.copyto(values.reshape(leaves.shape), leaves)
    in_order = np.arange(values.shape[1], dtype=np.int64)
    squares = np.vecdot(values, values)
    is_sum = (np.einsum("mn->m", values) == in_order.sum()).all()
    return bool(is_sum and (squares == np.square(in_order).sum()).all())


def intact(store: Store, chunk: int, names: tuple[str, ...]) -> Arrays:
    """Some arrays of a chunk; StoreError where they are not what was written."""
    try:
        with reading(store.path):
            return store.intact_chunk(chunk, names)
    except DamageError as error:
        raise damaged(store, chunk, str(error)) from error


def damaged(store: Store, chunk: int, reason: str) -> StoreError:
    """What is said of a chunk that cannot be trained on."""
    return StoreError(
        f"{store.path}: chunk {chunk} is damaged ({reason}): repair it with "
        "`nvgctl tokenize ... --resume`"
    )
