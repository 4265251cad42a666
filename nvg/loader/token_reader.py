"""Reads the valid rows of one split, chunk by chunk, and notices a chunk that is not what it was.

Legend: M vector of a flat list, X view, N position, T token, P component of a stored feature.
"""

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np

from nvg.store import Store
from nvg.store.damage import DamageError, reading
from nvg.store.format import ARRAYS, FEATURES, OK, Arrays, Split, StoreError
from nvg.store.index import has_status, in_split

Array = np.ndarray[Any, Any]
READERS = 2  # threads; decompression lets go of the interpreter's lock


@dataclass(frozen=True)
class Tokens:
    """Rows in memory: leaves [M, X, N], content [M, X, T], label [M], and their numbers row [M]."""

    leaves: np.ndarray[Any, Any]
    content: np.ndarray[Any, Any]
    label: np.ndarray[Any, Any]
    row: np.ndarray[Any, Any]
    features: np.ndarray[Any, Any] | None = None
    """Coded features [M, X, N, P], where they are read."""


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
        is_own = in_split(store.index, split)
        if rows is not None:
            is_own[: rows[0]] = is_own[rows[1] :] = False
        self.is_valid = has_status(store.index, OK) & is_own
        names = (*ARRAYS, FEATURES) if with_features else ARRAYS
        self.arrays = {name: store.group[name] for name in names}
        starts = store.chunk_starts
        self.counts = np.add.reduceat(self.is_valid.astype(np.int64), starts)
        """Valid rows of each chunk."""
        self.chunks = np.flatnonzero(np.logical_or.reduceat(is_own, starts))
        """The chunks that hold a row of the split, valid or not."""

    def empty(self, rows: int) -> Tokens:
        """Uninitialized arrays of so many rows."""
        made: dict[str, Any] = {
            name: np.empty((rows, *array.shape[1:]), array.dtype)
            for name, array in self.arrays.items()
        }
        return Tokens(**made, row=np.empty(rows, np.int64))

    def read(self, chunks: Iterable[int]) -> Tokens:
        """The valid rows of these chunks, one chunk after another. StoreError for a damaged one."""
        chunks = list(chunks)
        tokens = self.empty(int(self.counts[chunks].sum()))
        ends = np.cumsum(self.counts[chunks])
        with ThreadPoolExecutor(READERS) as pool:
            starts = ends - self.counts[chunks]
            list(pool.map(lambda c, s, e: self._fill(tokens, c, s, e), chunks, starts, ends))
        return tokens

    def _fill(self, tokens: Tokens, chunk: int, start: int, end: int) -> None:
        rows = self.store.chunk_slice(chunk)
        found = intact(self.store, chunk, tuple(self.arrays))
        valid = self.is_valid[rows]
        self._require_possible(chunk, found, valid)
        for name in self.arrays:
            getattr(tokens, name)[start:end] = found[name][valid]
        tokens.row[start:end] = rows.start + np.flatnonzero(valid)

    def _require_possible(self, chunk: int, found: Arrays, valid: Array) -> None:
        """StoreError for committed values that cannot be: beyond the codebook or the classes."""
        leaves, content, label = (found[name][valid] for name in ARRAYS)
        size, manifest = leaves.shape[-1], self.store.manifest
        sums = leaves.sum(-1, dtype=np.int64), np.square(leaves, dtype=np.int64).sum(-1)
        in_order = np.arange(size, dtype=np.int64)
        if (sums[0] != in_order.sum()).any() or (sums[1] != np.square(in_order).sum()).any():
            raise damaged(self.store, chunk, "leaves are not a permutation of the positions")
        if content.max(initial=0) >= manifest.codebook_size:
            raise damaged(self.store, chunk, f"token {content.max()} is outside the codebook")
        if len(label) and not (label.min() >= -1 and label.max() < len(manifest.classes)):
            raise damaged(self.store, chunk, "a label is none of the classes")


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
