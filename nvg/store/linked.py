"""A store whose rows are those of other stores: merged, or chosen from one (docs/FORMAT.md).

Legend: R row of the store.

It has an index, weights and a manifest that names its parts, and no arrays.
"""

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa

from nvg.errors import WorkError
from nvg.format.base import CODEC, INDEX_SCHEMA, Arrays, StoreError
from nvg.format.checks import label_faults
from nvg.format.damage import DamageError, reading
from nvg.format.index import chosen, numbers, rows_digest, with_numbers
from nvg.format.manifest import Manifest
from nvg.format.record import CommitRecord
from nvg.format.schema import require_weights
from nvg.parts.joined_array import Array, JoinedArray, class_ids, renumbered
from nvg.parts.part import Part, allowed_places, place_of
from nvg.parts.row_map import RowMap, Rows
from nvg.store.index_file import IndexFile
from nvg.store.sharded import ShardedStore
from nvg.store.store import Store
from nvg.store.store_files import Origin

AGAIN = "make it again with nvgctl merge or subset"


class LinkedStore(Store):
    """A linked store, to read as any other. Its parts are opened with it.

    StoreError where one may not be opened (`nvg.parts.part`), has moved or is another than it was.
    """

    def __init__(self, path: str, allowed: Iterable[str] = ()) -> None:
        super().__init__(path)
        self._index_file = IndexFile(self)
        places = (*allowed, *allowed_places())
        self.parts: tuple[Part, ...] = self.manifest.parts or ()
        opened: dict[str, tuple[Store, str]] = {}
        self.stores = [self._opened(part, places, opened) for part in self.parts]
        try:
            self.ids = [class_ids(s.manifest.classes, self.manifest.classes) for s in self.stores]
        except ValueError as error:
            raise StoreError(f"{self.path}: {error}: {AGAIN}") from None

    @cached_property
    def index(self) -> pa.Table:
        """All of the index in memory; whoever needs a part of it takes `index_part`."""
        tables = list(self.index_tables())
        return pa.concat_tables(tables) if tables else INDEX_SCHEMA.empty_table()

    def index_tables(self) -> Iterator[pa.Table]:
        """The index in parts, each row with its row in its part as PART_ROW."""
        with self._index_read():
            yield from self._index_file.tables()

    def index_part(self, chunk: int) -> pa.Table:
        """The index rows of one chunk."""
        rows = self.chunk_slice(chunk)
        with self._index_read():
            return self._index_file.rows(rows)

    def _known(self, rows: Sequence[int]) -> list[dict[str, Any]]:
        """Index entries of rows; reads their parts only."""
        with self._index_read():
            parts = [self._index_file.rows(slice(row, row + 1)) for row in rows]
        return [entry for part in parts for entry in part.to_pylist()]

    @cached_property
    def map(self) -> RowMap:
        """Which row of which part each row is, in 8 bytes a row."""
        counts = [len(store) for store in self.stores]
        sizes = [store.manifest.chunk_rows for store in self.stores]
        with self._index_read():
            rows = self._index_file.part_rows()
        try:
            return RowMap(self.parts, rows, counts, sizes)
        except ValueError as error:
            raise DamageError(f"{self.path}: {error}: {AGAIN}") from None

    @contextmanager
    def _index_read(self) -> Iterator[None]:
        try:
            with reading(self.path):
                yield
        except DamageError as error:
            raise DamageError(f"{self.path}: index cannot be read ({error}): {AGAIN}") from error

    @cached_property
    def group(self) -> Any:
        """Its arrays by name, each a `JoinedArray`."""
        found = {}
        for name in self.arrays:
            ids = self.ids if name == "label" else None
            found[name] = JoinedArray(self.map, [s.group[name] for s in self.stores], ids)
        return found

    @property
    def chunks(self) -> int:
        """How many chunks of its parts it shows rows of."""
        return self.map.chunks

    @property
    def chunk_starts(self) -> np.ndarray[Any, Any]:
        """The first row of each chunk."""
        return self.map.starts

    def chunk_slice(self, chunk: int) -> slice:
        """Rows of one chunk, as many as are shown of a chunk of a part."""
        return self.map.chunk_slice(chunk)

    def origin(self, chunk: int) -> Origin:
        """That of the part's chunk."""
        part, number, rows = self.map.origin(chunk)
        return Origin(self.stores[part], number, rows, self.ids[part])

    def committed(self) -> list[int]:
        """Chunks whose own in its part has a commit record."""
        known = [set(store.committed()) for store in self.stores]
        origins = map(self.map.origin, range(self.chunks))
        return [n for n, (part, number, _) in enumerate(origins) if number in known[part]]

    def verify(self, progress: Callable[[Iterable[int]], Iterable[int]] = iter) -> list[str]:
        """As of any store; without a readable index no more than what its files are."""
        try:
            _ = self.map
        except (StoreError, WorkError) as error:
            return [*self._file_faults(), str(error).removeprefix(f"{self.path}: ")]
        return super().verify(progress)

    def commit_record(self, chunk: int) -> CommitRecord:
        """That of the part's chunk."""
        part, number, _ = self.map.origin(chunk)
        return self.stores[part].commit_record(number)

    def intact_chunk(self, chunk: int, names: tuple[str, ...]) -> Arrays:
        """Rows of a part's chunk; DamageError unless all of it is what was committed."""
        part, number, rows = self.map.origin(chunk)
        store, ids = self.stores[part], self.ids[part]
        with _told_of(store, number):
            found = store.intact_chunk(number, names)
        taken = {name: values[rows] for name, values in found.items()}
        if "label" in taken:
            taken["label"] = renumbered(taken["label"], ids)
        return taken

    def require_chunk(self, name: str, chunk: int) -> None:
        """ValueError where the part's chunk of an array is no file."""
        part, number, _ = self.map.origin(chunk)
        self.stores[part].require_chunk(name, number)

    def chunk_faults(self, chunk: int) -> list[str]:
        """What is wrong with the part's chunk, and whether the index rows here are those there."""
        part, number, rows = self.map.origin(chunk)
        store, here = self.stores[part], self.index_part(chunk)
        with _told_of(store, number):
            faults = [f"{store.path}, chunk {number}: {f}" for f in store.chunk_faults(number)]
        with reading(self.path):
            first = self.chunk_slice(chunk).start
            there = linked_rows(store.index_part(number), rows, self.ids[part], first)
            faults += label_faults(numbers(here, "label"), here, self.manifest)
            if not faults and rows_digest(here) != rows_digest(there):
                faults.append(f"index rows are not those of {store.path}")
        return faults

    def _file_faults(self) -> list[str]:
        """Those of its own files, and parts that were written to."""
        faults = super()._file_faults()
        for part, store in zip(self.parts, self.stores, strict=True):
            try:
                with reading(store.path):
                    is_same = store.records_digest() == part.commits
            except DamageError:
                continue  # said of the chunk
            except WorkError as error:
                faults.append(str(error))
                continue
            if not is_same:
                faults.append(f"{store.path}: commit records are not those of when it was linked")
        return faults

    def _has_lost_sums(self) -> bool:
        """Every version that links stores writes them."""
        return self.manifest.sha256 is None

    def _opened(
        self, part: Part, allowed: tuple[str, ...], opened: dict[str, tuple[Store, str]]
    ) -> Store:
        """The store of a part; of many that name one store it is opened once."""
        try:
            place = place_of(part.path, self.path, allowed)
        except ValueError as error:
            raise StoreError(f"{self.path} {error}") from None
        try:
            if place not in opened:
                store = _plain_store(place)
                opened[place] = store, manifest_digest(store)
            store, digest = opened[place]
        except StoreError as error:
            raise StoreError(
                f"{self.path}: cannot open its part: {error}: if it has moved, put it back, or "
                f"{AGAIN}"
            ) from None
        if digest != part.sha256:
            raise StoreError(
                f"{self.path}: its part {store.path} has changed since: restore it, or {AGAIN}"
            )
        for name in self.manifest.shape_differences(store.manifest):
            raise StoreError(f"{self.path}: {name} is not that of its part {store.path}: {AGAIN}")
        if self.manifest.features and not same_features(self.manifest, store.manifest):
            raise StoreError(f"{self.path}: features are not those of {store.path}: {AGAIN}")
        store.require_finished()
        return store


@contextmanager
def _told_of(store: Store, chunk: int) -> Iterator[None]:
    """While reading a chunk of a part: a DamageError names both."""
    try:
        with reading(store.path):
            yield
    except DamageError as error:
        raise DamageError(f"{store.path}, chunk {chunk}: {error}") from error


def linked_rows(index: pa.Table, rows: Rows, ids: Array | None, first: int) -> pa.Table:
    """Some rows of a part's index, ascending, as the linked store has them from row `first` on."""
    is_chosen = np.zeros(len(index), bool)
    is_chosen[rows] = True
    table = chosen(index, is_chosen)
    label = renumbered(numbers(table, "label"), ids)
    numbered = with_numbers(table, "row", np.arange(first, first + len(table)))
    return with_numbers(numbered, "label", label.astype(np.int32))


def same_features(one: Manifest, other: Manifest) -> bool:
    """Whether features of two stores mean the same: one model, and one codec."""
    return one.features == other.features and one.weights.get(CODEC) == other.weights.get(CODEC)


def manifest_digest(store: Store) -> str:
    """SHA-256 of the manifest of a store."""
    with reading(store.path):
        return hashlib.sha256(store.read("manifest.json")).hexdigest()


def open_store(path: str) -> Store:
    """Open an existing store, finished or not; StoreError if there is none at `path`.

    Also for one whose arrays or weights are not those that its manifest describes, and for a linked
    one whose parts are not what they were.
    """
    store = Store(str(path))
    if store.manifest.parts is not None:
        linked = LinkedStore(str(path))
        with reading(path):
            require_weights(linked.head, linked.manifest, linked.path)
        return linked
    return _checked(store)


def _plain_store(path: str) -> Store:
    """A store that is not a linked one itself: links lead one step."""
    store = Store(path)
    if store.manifest.parts is not None:
        raise StoreError(f"{path} is a linked store, which no store may have as a part")
    return _checked(store)


def _checked(store: Store) -> Store:
    """The same, by what it is: plain or sharded."""
    if store.manifest.shard_rows is not None:
        store = ShardedStore(store.path)
    with reading(store.path):
        store.require_described()
        require_weights(store.head, store.manifest, store.path)
    return store
