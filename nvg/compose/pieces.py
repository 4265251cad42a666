"""Rows of stores as a new linked store: no array is copied.

Legend: R row of the store.
"""

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa

from nvg.errors import AGAIN, full_disk_named
from nvg.files import json_bytes, storage, write_bytes
from nvg.format.base import (
    CODEC,
    ERROR,
    INDEX_FILE,
    INDEX_SCHEMA,
    LINKED,
    PART_ROW,
    StoreError,
    parquet_bytes,
)
from nvg.format.index import has_status, in_split, with_numbers
from nvg.format.manifest import Manifest
from nvg.parts.joined_array import class_ids
from nvg.parts.part import ALLOWED, Part, path_from, place_of
from nvg.parts.row_map import Rows
from nvg.store import Split, Store
from nvg.store.layout import require_free
from nvg.store.linked import (
    LinkedStore,
    linked_rows,
    manifest_digest,
    open_store,
    same_features,
)
from nvg.store.lock import writer_lock
from nvg.store.store import REPAIR
from nvg.store.writer import UNFINISHED

GROUP = 1 << 16  # rows of the index that are read at once


@dataclass(frozen=True)
class Piece:
    """Rows of a plain store [R], ascending."""

    store: Store
    rows: Rows


def pieces_of(store: Store, rows: Rows | None = None) -> list[Piece]:
    """Some rows of a finished store, ascending, or all; those of a linked one by its parts."""
    store.require_finished()
    rows = np.arange(len(store)) if rows is None else rows
    if not isinstance(store, LinkedStore):
        return [Piece(store, rows)]
    part_R, theirs = store.map.part_of(rows), store.map.rows[rows]
    found = [Piece(each, theirs[part_R == n]) for n, each in enumerate(store.stores)]
    return [piece for piece in found if len(piece.rows)]


def joined_classes(pieces: Sequence[Piece]) -> tuple[str, ...]:
    """Names of the classes of all pieces: those of the first, then what each adds."""
    names = dict.fromkeys(name for piece in pieces for name in piece.store.manifest.classes)
    first = pieces[0].store.manifest.classes
    return first if names.keys() <= set(first) else tuple(names)


def require_alike(pieces: Sequence[Piece]) -> None:
    """StoreError where the tokens of two pieces cannot stand in one store."""
    one = pieces[0].store
    for other in (piece.store for piece in pieces[1:]):
        for name in one.manifest.shape_differences(other.manifest):
            values = (_said(getattr(store.manifest, name)) for store in (one, other))
            raise StoreError(
                f"{other.path} cannot stand beside {one.path}: {name} differs "
                f"({' and '.join(values)}): tokenize one of them as the other was"
            )


def keeps_features(pieces: Sequence[Piece]) -> bool:
    """Whether all pieces have features that mean the same."""
    one = pieces[0].store.manifest
    others = (piece.store.manifest for piece in pieces)
    return one.features is not None and all(same_features(one, other) for other in others)


def write_linked(out: str, pieces: Sequence[Piece], classes: Sequence[str]) -> int:
    """Write a linked store of these rows, its manifest last; returns its rows.

    Its classes are named by `classes`. StoreError where `out` is taken, the pieces are not alike,
    there are no rows, weights of the first piece are damaged, or a store is written to meanwhile.
    """
    out = out.rstrip("/")
    require_alike(pieces)
    if not any(len(piece.rows) for piece in pieces):
        raise StoreError(f"{out} would have no rows: choose others")
    with full_disk_named(out, AGAIN), writer_lock(out):
        left = (INDEX_FILE, *pieces[0].store.manifest.weights)  # by one killed before the manifest
        require_free(out, "remove it", left)
        return _written(out, pieces, classes)


def _written(out: str, pieces: Sequence[Piece], classes: Sequence[str]) -> int:
    """Its rows, once all is written."""
    counts = Counts()
    tables = counts.counted(_in_groups(_index(pieces, classes)))
    data = parquet_bytes(tables, pa.schema([*INDEX_SCHEMA, (PART_ROW, pa.int64())]))
    files, parts = _weights(pieces), _described(out, pieces)
    manifest = _manifest(pieces, parts, counts, hashlib.sha256(data).hexdigest(), classes)
    sums = {name: hashlib.sha256(each).hexdigest() for name, each in files.items()}
    manifest = replace(manifest, weights=sums).sealed()
    files |= {INDEX_FILE: data, "manifest.json": manifest.to_bytes()}
    fs, root = storage(out)
    for path in fs.find(root):
        if path.endswith(UNFINISHED):  # of one that was killed, since the lock is ours
            fs.rm_file(path)
    for name, each in files.items():
        write_bytes(fs, f"{root}/{name}", each)
    return counts.rows


def place_notes(pieces: Sequence[Piece], out: str) -> list[str]:
    """A line where opening the store will need a word of the user's."""
    for piece in pieces:
        try:
            place_of(piece.store.path, out)
        except ValueError:
            return [
                f"{piece.store.path} is not below the folder of {out}: name its folder in "
                f"{ALLOWED} to open the store"
            ]
    return []


@dataclass
class Counts:
    """Of the rows of an index, as it is written."""

    rows: int = 0
    val: int = 0
    errors: int = 0

    def counted(self, tables: Iterable[pa.Table]) -> Iterator[pa.Table]:
        """The same tables."""
        for table in tables:
            self.rows += len(table)
            self.val += int(in_split(table, Split.VAL).sum())
            self.errors += int(has_status(table, ERROR).sum())
            yield table


def _described(out: str, pieces: Sequence[Piece]) -> tuple[Part, ...]:
    parts, first = [], 0
    for piece in pieces:
        end = first + len(piece.rows)
        parts.append(_part(out, piece.store, (first, end)))
        first = end
    return tuple(parts)


def _part(out: str, store: Store, rows: tuple[int, int]) -> Part:
    """A store as a part, by what it is now; StoreError unless that is what was read of it."""
    commits, path = store.records_digest(), path_from(store.path, out)
    if open_store(store.path).manifest != store.manifest:
        raise StoreError(f"{store.path} has changed while it was read: {AGAIN}")
    try:
        return Part(path=path, sha256=manifest_digest(store), commits=commits, rows=rows)
    except ValueError as error:
        raise StoreError(f"{store.path} cannot be named in a store ({error}): rename it") from None


def _index(pieces: Sequence[Piece], classes: Sequence[str]) -> Iterator[pa.Table]:
    """The index of all rows, in parts as long as those of the pieces' stores."""
    first = 0
    for piece in pieces:
        store, start = piece.store, 0
        try:
            ids = class_ids(store.manifest.classes, classes)
        except ValueError as error:
            raise StoreError(f"{store.path} cannot be merged: {error}") from None
        for part in store.index_tables():
            stop = start + len(part)
            rows = piece.rows[slice(*np.searchsorted(piece.rows, (start, stop)))]
            table = linked_rows(part, rows - start, ids, first).select(INDEX_SCHEMA.names)
            yield with_numbers(table, PART_ROW, rows.astype(np.int64))
            start, first = stop, first + len(rows)


def _in_groups(tables: Iterable[pa.Table]) -> Iterator[pa.Table]:
    """The same rows, GROUP at a time."""
    held: list[pa.Table] = []
    for table in tables:
        held.append(table)
        while (count := sum(map(len, held))) >= GROUP:
            whole = pa.concat_tables(held)
            yield whole.slice(0, GROUP).combine_chunks()
            held = [whole.slice(GROUP)] if count > GROUP else []
    if any(map(len, held)):
        yield pa.concat_tables(held).combine_chunks()


def _manifest(
    pieces: Sequence[Piece],
    parts: tuple[Part, ...],
    counts: Counts,
    index_sum: str,
    classes: Sequence[str],
) -> Manifest:
    """What all pieces have in common, and the counts of the index."""
    manifests = [piece.store.manifest for piece in pieces]
    identity = json_bytes([[part.sha256 for part in parts], index_sum])
    return replace(
        manifests[0],
        format=LINKED,
        version=1,
        shard_rows=None,
        counts=None,
        rows=counts.rows,
        val_rows=counts.val,
        chunk_rows=max(manifest.chunk_rows for manifest in manifests),
        classes=tuple(classes),
        order=None,
        parts=parts,
        index=index_sum,
        source=hashlib.sha256(identity).hexdigest(),
        features=manifests[0].features if keeps_features(pieces) else None,
        recipe=_common([manifest.recipe for manifest in manifests]),
        versions=_common([manifest.versions for manifest in manifests]),
        finished=True,
        errors=counts.errors,
        unknown={},
        sha256=None,
    )


def _weights(pieces: Sequence[Piece]) -> dict[str, bytes]:
    """The weights files of the first piece; the codec only where features are kept."""
    store, files = pieces[0].store, {}
    for name in store.manifest.weights:
        if name == CODEC and not keeps_features(pieces):
            continue
        if not store.is_intact(name):
            raise StoreError(f"{store.path}: {name} is missing or damaged: {REPAIR}")
        files[name] = store.read(name)
    return files


def _common(tables: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The entries that all tables have alike."""
    first, *others = tables
    return {
        name: value
        for name, value in first.items()
        if all(name in table and table[name] == value for table in others)
    }


def _said(value: object) -> str:
    text = ", ".join(value) if isinstance(value, tuple) else str(value)
    return text if len(text) <= 24 else f"{text[:12]}..."
