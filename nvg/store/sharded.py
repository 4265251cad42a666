"""A store of version 2: chunks lie in shards, and the index is read in parts (docs/FORMAT.md).

Legend: R row of the store.

A shard is what is listed and checked as a whole: an object for each array, a part of the index, a
record. A chunk is what is made, read and repaired at once. Until all chunks of a shard are there,
each waits in a file of its own (nvg.format.staging).
"""

import contextlib
import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa

from nvg.errors import WorkError
from nvg.format.base import (
    COUNTS,
    INDEX_SCHEMA,
    Arrays,
    Split,
    StoreError,
    read_parquet,
)
from nvg.format.checks import MOST_NAMED, missing_chunks
from nvg.format.counts import (
    Counts,
    Numbers,
    all_of,
    counts_of,
    joined,
    manifest_faults,
    ok_of,
    read_counts,
)
from nvg.format.damage import DamageError, reading
from nvg.format.index import with_split
from nvg.format.record import CommitRecord, read_shard, record_name
from nvg.format.schema import array_shapes, require_index
from nvg.format.shard_file import Places, chunk_places, read_chunk, tail_length
from nvg.format.staging import read_staged, staged_name
from nvg.store.shards import Shards, index_name
from nvg.store.store import INDEX_DAMAGED, REPAIR
from nvg.store.store_files import Span

KEPT = 4  # index parts and staged chunks that are kept in memory, of each
MOST_SHARDS = 1 << 12  # whose records are kept in memory, and of an array the places

Waiting = tuple[Arrays, pa.Table, bytes]
"""Arrays, index rows and record of a chunk that waits."""


class Recent(dict[int, Any]):
    """The first few values that were asked for, by number; several threads may ask."""

    def of(self, number: int, make: Callable[[int], Any]) -> Any:
        """The value, made when it is not there."""
        try:
            return self[number]
        except KeyError:
            value = self[number] = make(number)
        if len(self) > KEPT:
            with contextlib.suppress(KeyError, StopIteration, RuntimeError):  # another does so
                del self[next(iter(self))]
        return value


class ShardedStore(Shards):
    """A store of version 2, to read as any other."""

    has_records = False

    def __init__(self, path: str) -> None:
        super().__init__(path)
        self._parts, self._staged = Recent(), Recent()
        self._records: dict[int, dict[int, CommitRecord | str]] = {}
        self._places: dict[tuple[str, int], Places] = {}

    def commit_record(self, chunk: int) -> CommitRecord:
        """The commit record of a chunk; ValueError for one that does not fit the store."""
        shard = chunk // self.per_shard
        if waiting := self._waiting(chunk):
            return CommitRecord.from_bytes(waiting[2], chunk, self.chunk_slice(chunk), self.arrays)
        records = self._records.get(shard)
        if records is None:
            if len(self._records) >= MOST_SHARDS:
                self._records.clear()
            rows = {own: self.chunk_slice(own) for own in self.chunks_of(shard)}
            records = read_shard(self.read(record_name(shard)), shard, rows, self.arrays)
            self._records[shard] = records
        found = records.get(chunk, f"{record_name(shard)} lacks chunk {chunk}")
        if isinstance(found, str):
            raise ValueError(found)
        return found

    def records_digest(self) -> str:
        """SHA-256 of the records of its shards, one after another."""
        state = hashlib.sha256()
        for shard in range(self.shards):
            state.update(self.read(record_name(shard)))
        return state.hexdigest()

    @cached_property
    def index(self) -> pa.Table:
        """All of the index in memory; whoever needs a part of it takes `index_part`."""
        parts = [self.index_part(chunk) for chunk in self._index_chunks()]
        return pa.concat_tables(parts) if parts else INDEX_SCHEMA.empty_table()

    def index_part(self, chunk: int) -> pa.Table:
        """The index rows of one committed chunk."""
        shard, rows = chunk // self.per_shard, self.chunk_slice(chunk)
        try:
            if waiting := self._waiting(chunk):
                return waiting[1]
            part: pa.Table = self._parts.of(shard, self._index_of)
        except DamageError as error:
            raise DamageError(f"{self.path}: {INDEX_DAMAGED} ({error}): {REPAIR}") from error
        return part.slice(rows.start - self.shard_slice(shard).start, rows.stop - rows.start)

    def index_tables(self) -> Iterator[pa.Table]:
        """The index shard by shard, or chunk by chunk where they wait."""
        for chunk in self._index_chunks():
            if not self.is_sealed(chunk // self.per_shard):
                yield self.index_part(chunk)
            elif chunk % self.per_shard == 0:
                yield self._parts.of(chunk // self.per_shard, self._index_of)

    def stored(self, name: str, chunk: int) -> np.ndarray[Any, Any]:
        """The rows of one chunk of an array, unchecked but for its CRC32C."""
        rows = self.chunk_slice(chunk)
        if waiting := self._waiting(chunk):
            return waiting[0][name]
        kind, shape = array_shapes(self.manifest)[name]
        values = np.empty((self.manifest.chunk_rows, *shape[1:]), kind)
        data = self.read(self.chunk_file(name, chunk), *self.chunk_span(name, chunk))
        read_chunk(data, values)
        return values[: rows.stop - rows.start]

    def chunk_file(self, name: str, chunk: int) -> str:
        """The file of its shard."""
        return self._file(name, chunk // self.per_shard)

    def chunk_span(self, name: str, chunk: int) -> Span:
        """Where in the file of its shard a chunk lies; ValueError where it does not."""
        places = self._places_of(name, chunk // self.per_shard)
        start, length = places[chunk % self.per_shard].tolist()
        if length > self._most_bytes[name]:
            raise ValueError(f"chunk {chunk} of {name} is missing or too large")
        return start, start + length

    def stored_rows(self, name: str, rows: Any) -> np.ndarray[Any, Any]:
        """Some rows of an array, ascending, unchecked."""
        rows = np.asarray(rows)
        chunks = rows // self.manifest.chunk_rows
        starts = {chunk: self.chunk_slice(chunk).start for chunk in np.unique(chunks).tolist()}
        parts = [self.stored(name, c)[rows[chunks == c] - start] for c, start in starts.items()]
        kind, shape = array_shapes(self.manifest)[name]
        return np.concatenate([np.empty((0, *shape[1:]), kind), *parts])

    def require_chunk(self, name: str, chunk: int) -> None:
        """ValueError where a chunk of an array is no file."""
        shard = chunk // self.per_shard
        is_sealed = self.is_sealed(shard)
        self._require_file(self._file(name, shard) if is_sealed else staged_name(shard, chunk))

    def row_counts(self, split: Split) -> tuple[Numbers, Numbers]:
        """(rows of a split, those of them with tokens) of each chunk; reads no index."""
        counts = self.chunk_counts()
        return counts[all_of(split)], counts[ok_of(split)]

    def _known(self, rows: Sequence[int]) -> list[dict[str, Any]]:
        """Index entries of those rows that are committed; reads their parts only."""
        chunk_rows, found = self.manifest.chunk_rows, []
        committed = None if self.finished else set(self.committed())
        for row in rows:
            chunk, inside = divmod(row, chunk_rows)
            if committed is None or chunk in committed:
                found += self.index_part(chunk).slice(inside, 1).to_pylist()
        return found

    def chunk_counts(self) -> Counts:
        """Rows of each chunk by split and status; StoreError unless they are intact."""
        if not self.has_counts():
            raise StoreError(f"{self.path}: {COUNTS} is missing or damaged: {REPAIR}")
        try:
            with reading(self.path):
                return read_counts(self.read(COUNTS), self.chunks)
        except DamageError as error:
            raise DamageError(f"{self.path}: {error}: {REPAIR}") from error

    def has_counts(self) -> bool:
        """Whether `chunks.parquet` is there and intact."""
        return self.manifest.counts is not None and self.is_intact(COUNTS)

    def verify(self, progress: Callable[[Iterable[int]], Iterable[int]] = iter) -> list[str]:
        """As of any store, with one part of the index in memory at a time."""
        committed, faults = self.committed(), [*self._file_faults(), *self._group_faults()]
        if not self.finished:
            faults.insert(0, f"unfinished: {len(committed)} of {self.chunks} chunks are committed")
        else:
            faults += missing_chunks(self.chunks, committed)
            if extra := [shard for shard in self.sealed() if shard >= self.shards]:
                faults.append(f"commit records of shards that there are not: {extra[:MOST_NAMED]}")
            if self.manifest.counts is None:
                faults.append("manifest.json has no counts")
        counted: list[dict[str, int]] = []
        for chunk in progress(committed):
            try:
                own = [f"chunk {chunk}: {fault}" for fault in self.chunk_faults(chunk)]
                counted.append(counts_of(self.index_part(chunk)))
                faults += own
            except (StoreError, WorkError) as error:
                told = str(error).removeprefix(f"{self.path}: ")
                faults.append(f"chunk {chunk}: cannot be read: {told}")
        if self.finished and len(counted) == self.chunks:
            faults += self._count_faults(joined(counted))
        return faults

    def _count_faults(self, counts: Counts) -> list[str]:
        """What manifest and `chunks.parquet` count otherwise than the index."""
        faults = manifest_faults(counts, self.manifest)
        if not self.has_counts():
            return faults  # said of the file
        try:
            known = self.chunk_counts()
        except StoreError as error:
            return [*faults, str(error).removeprefix(f"{self.path}: ")]
        if any((known[name] != counts[name]).any() for name in counts):
            faults.append(f"{COUNTS} does not count what the index has")
        return faults

    def _group_faults(self) -> list[str]:
        """Why Zarr cannot read it, which nobody here needs for that."""
        try:
            with reading(self.path):
                for name in self.arrays:
                    _ = self.group[name]
        except (StoreError, WorkError) as error:
            return [f"zarr.json: {str(error).removeprefix(f'{self.path}: ')}"]
        return []

    def _index_chunks(self) -> Iterable[int]:
        return range(self.chunks) if self.finished else self.committed()

    def _index_of(self, shard: int) -> pa.Table:
        rows, name = self.shard_slice(shard), index_name(shard)
        with reading(self.path):
            table = read_parquet(self.read(name), self.shard_rows)
            stop = rows.stop
            if not self.finished:  # a store that is being extended has fewer rows there yet
                stop = min(stop, rows.start + len(table))
            require_index(table, self.manifest, name, range(rows.start, stop))
            return with_split(table)

    def _waiting(self, chunk: int) -> Waiting | None:
        """A chunk that waits, None where its shard is sealed; DamageError for a damaged one."""
        if self.is_sealed(chunk // self.per_shard):
            return None
        try:
            found: Waiting = self._staged.of(chunk, self._read_waiting)
            return found
        except DamageError:
            if self.is_sealed(chunk // self.per_shard):  # just now
                return None
            raise

    def _read_waiting(self, chunk: int) -> Waiting:
        name, rows = staged_name(chunk // self.per_shard, chunk), self.chunk_slice(chunk)
        with reading(self.path):
            try:
                most = self.manifest.chunk_rows
                arrays, index, record = read_staged(
                    self.read(name), array_shapes(self.manifest), most
                )
            except ValueError as error:
                raise DamageError(f"{name}: {error}") from error
            require_index(index, self.manifest, name, range(rows.start, rows.stop))
            return arrays, with_split(index), record

    def _places_of(self, name: str, shard: int) -> Places:
        if (name, shard) not in self._places:
            file = self._file(name, shard)
            tail = self.read(file, -tail_length(self.per_shard))
            if len(self._places) >= MOST_SHARDS:
                self._places.clear()
            self._places[name, shard] = chunk_places(tail, self.per_shard)
        return self._places[name, shard]

    def _forget(self) -> None:
        """What was read of files that have changed since."""
        self.__dict__.pop("index", None)
        for each in (self._records, self._parts, self._staged, self._places, self._sealed):
            each.clear()
