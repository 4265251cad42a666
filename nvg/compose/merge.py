"""Several stores of one tokenizer as one: `nvgctl merge`.

Legend: R row of the store.
"""

from collections.abc import Sequence
from enum import StrEnum

import numpy as np
import pyarrow as pa

from nvg.compose.pieces import (
    Piece,
    joined_classes,
    keeps_features,
    pieces_of,
    place_notes,
    write_linked,
)
from nvg.format.base import FEATURES, StoreError
from nvg.store import Store
from nvg.store.linked import open_store


class Overlap(StrEnum):
    """What becomes of a key that several stores have."""

    REFUSE = "refuse"
    FIRST = "first"
    """The row of the store that is named first stays."""
    ALL = "all"
    """All rows stay; `--key` finds the first."""


def merge_stores(paths: Sequence[str], out: str, overlap: Overlap = Overlap.REFUSE) -> list[str]:
    """Write the linked store of all rows of these stores, in the order given; lines to print.

    Classes are joined by name, splits kept. StoreError where the stores are not alike, a key
    overlaps and that is refused, or `out` is taken.
    """
    if len(paths) < 2:
        raise StoreError("merge needs two stores or more; nvgctl subset takes one")
    stores = [open_store(path) for path in paths]
    pieces = [piece for store in stores for piece in pieces_of(store)]
    left, found = without_repeats(pieces, overlap)
    classes = joined_classes(pieces)
    rows = write_linked(out, left, classes)
    lines = [
        f"wrote {out}: {rows} rows of {len(left)} stores, {len(classes)} classes, no array copied"
    ]
    if found:
        word = "left out" if overlap is Overlap.FIRST else "kept"
        lines.append(f"{found} rows whose key an earlier store has: {word}")
    if any(FEATURES in store.arrays for store in stores) and not keeps_features(left):
        lines.append("features are left out: the stores do not have the same")
    return lines + place_notes(left, out)


def without_repeats(pieces: Sequence[Piece], overlap: Overlap) -> tuple[list[Piece], int]:
    """The pieces as `overlap` says, and how many rows have a key of an earlier piece."""
    codes = _key_codes(pieces)
    is_known = np.zeros(max((int(each.max(initial=-1)) for each in codes), default=-1) + 1, bool)
    left, repeats, first = [], 0, ""
    for piece, own in zip(pieces, codes, strict=True):
        is_repeat = is_known[own]
        if is_repeat.any() and not first:
            row = int(piece.rows[np.flatnonzero(is_repeat)[0]])
            first = f"{piece.store.entry(row)['key']!a} of {piece.store.path}"
        repeats += int(is_repeat.sum())
        is_known[own] = True
        rows = piece.rows[~is_repeat] if overlap is Overlap.FIRST else piece.rows
        left.append(Piece(piece.store, rows))
    if repeats and overlap is Overlap.REFUSE:
        raise StoreError(
            f"{repeats} keys are in an earlier store too, such as {first}: say --overlap first to "
            "leave these rows out, or --overlap all to keep them"
        )
    return [piece for piece in left if len(piece.rows)], repeats


def _key_codes(pieces: Sequence[Piece]) -> list[np.ndarray[tuple[int], np.dtype[np.int32]]]:
    """A number for each row's key [R], the same for equal keys, piece by piece."""
    columns = [_keys(piece.store) for piece in pieces]
    every = pa.concat_arrays(columns).dictionary_encode()
    codes = np.from_dlpack(every.indices)
    ends = np.cumsum([len(column) for column in columns])
    parts = np.split(codes, ends[:-1])
    return [part[piece.rows] for part, piece in zip(parts, pieces, strict=True)]


def _keys(store: Store) -> pa.Array:
    """The column of keys as one array; large, since all stores' may be over 2 GiB."""
    parts = (table["key"].combine_chunks() for table in store.index_tables())
    chunks = [part.cast(pa.large_string()) for part in parts]
    return pa.concat_arrays(chunks) if chunks else pa.array([], pa.large_string())
