"""Write a store of version 2: chunks wait in files of their own until their shard is whole.

A chunk counts once its file is there. Whoever writes the last one of a shard seals it: arrays and
index part first, the record of the shard last, and then the files of its chunks go. Two that seal
one shard at once write the same bytes.
"""

import contextlib
import hashlib
from collections.abc import Collection
from dataclasses import replace

import numpy as np
import pyarrow as pa

from nvg.format.base import (
    COUNTS,
    ERROR,
    INDEX_SCHEMA,
    ORDER,
    Arrays,
    StoreError,
    digest,
    parquet_bytes,
)
from nvg.format.counts import counts_bytes, counts_of, errors_in, joined
from nvg.format.damage import DamageError, reading
from nvg.format.index import has_status, rows_digest, with_split
from nvg.format.manifest import Manifest
from nvg.format.record import INDEX, CommitRecord, record_name, shard_bytes
from nvg.format.shard_file import shard_bytes as array_bytes
from nvg.format.staging import STAGING, staged_bytes, staged_name
from nvg.store.sharded import ShardedStore
from nvg.store.shards import index_name
from nvg.store.store import REPAIR
from nvg.store.writer import UNFINISHED, StoreWriter


class ShardedWriter(ShardedStore, StoreWriter):
    """A store of version 2 that may be changed. One process at a time changes it; chunks may be
    written by many."""

    def write_chunk(self, chunk: int, arrays: Arrays, index: pa.Table) -> None:
        """Write one chunk's rows, atomically, and seal its shard if it was the last one of it."""
        self.require_shapes(chunk, arrays)
        rows, shard = self.chunk_slice(chunk), chunk // self.per_shard
        table = with_split(index).select(INDEX_SCHEMA.names).cast(INDEX_SCHEMA)
        sums = {name: digest(arrays[name]) for name in self.arrays}
        record = CommitRecord(
            chunk=chunk,
            rows=(rows.start, rows.stop),
            errors=int(np.sum(has_status(table, ERROR))),
            sha256={**sums, INDEX: rows_digest(table)},
        )
        own = {name: arrays[name] for name in self.arrays}
        self.write(staged_name(shard, chunk), staged_bytes(own, table, record))
        self._staged.clear()
        self.seal_if_whole(shard, chunk)

    def seal_if_whole(self, shard: int, new: int | None = None) -> None:
        """Seal a shard whose chunks are all there; the `new` one is, which no listing need show.

        One that waits for a shard that is sealed, as another had written it too, goes.
        """
        if not self.is_sealed(shard):
            if {*self.staged(shard), new}.issuperset(self.chunks_of(shard)):
                self._seal_once(shard)
        elif new is not None:
            self._remove(staged_name(shard, new))

    def withdraw(self, chunk: int) -> None:
        """Take a chunk's commit back; its rows count as missing."""
        self.withdraw_chunks([chunk])

    def withdraw_chunks(self, chunks: Collection[int]) -> None:
        """Take back the commits of some chunks. The others of their shards wait again.

        What waits is written first, then a finished store is declared unfinished, and the records
        go last, so that a kill in between loses nothing.
        """
        lost, sealed = set(chunks), set(self.sealed())
        opened = sorted(sealed & {chunk // self.per_shard for chunk in lost})
        for shard in opened:
            for chunk in self.chunks_of(shard):
                if chunk not in lost:
                    self._let_wait(chunk)
        if self.finished and (opened or len(sealed) < self.shards):
            self.reopen()
        for shard in opened:
            self._remove(record_name(shard))
        for chunk in lost:
            self._remove(staged_name(chunk // self.per_shard, chunk))
        self._forget()

    def withdraw_counts(self) -> None:
        """Declare the store unfinished where `chunks.parquet` is damaged: to finish it counts."""
        if not self.finished:
            return
        try:
            self.chunk_counts()
        except StoreError:
            self.reopen()

    def lengthen(self, order: bytes, manifest: Manifest) -> None:
        """Declare a finished store unfinished, with a manifest of more rows, in the order of ORDER.

        The chunks of its last shard wait for new ones, but for a last chunk that is to be longer.
        """
        last, rows = self.shards - 1, len(self)
        is_open = self.shards > 0 and rows % self.shard_rows > 0
        if is_open:
            for chunk in self.chunks_of(last):
                own = self.chunk_slice(chunk)
                if own.stop - own.start == self.manifest.chunk_rows:
                    self._let_wait(chunk)
        self.write(ORDER, order)
        self.reopen(manifest)
        if is_open:
            self._remove(record_name(last))
        self._forget()

    def finish(self) -> None:
        """Seal what waits, count, and mark the store finished; StoreError if a chunk is missing."""
        self.require_whole()
        for shard in sorted(set(range(self.shards)) - set(self.sealed())):
            if not self.is_sealed(shard):
                self._seal_once(shard)
        self.sweep()
        counts = joined([counts_of(self.index_part(chunk)) for chunk in range(self.chunks)])
        data = counts_bytes(counts)
        self.write(COUNTS, data)
        done = replace(self.manifest, finished=True, errors=errors_in(counts))
        self._write_manifest(replace(done, counts=_sha256(data)))
        with contextlib.suppress(FileNotFoundError):
            self.fs.rm(f"{self.root}/{STAGING}", recursive=True)

    def sweep(self) -> None:
        """Remove what a killed writer left: half a file, or chunks that wait for a sealed shard."""
        sealed = {f"{STAGING}/{shard:05d}" for shard in self.sealed()}
        for path in self.fs.find(self.root):
            name = path[len(self.root) :].lstrip("/")
            if path.endswith(UNFINISHED) or name.rpartition("/")[0] in sealed:
                self._remove(name)

    def reopen(self, manifest: Manifest | None = None) -> None:
        """Declare the store unfinished again, perhaps with another manifest."""
        super().reopen(replace(manifest or self.manifest, counts=None))

    def _seal_once(self, shard: int) -> None:
        """Seal a shard, unless another does so first and removes what waited."""
        try:
            self._seal(shard)
        except DamageError as error:
            if not self.is_sealed(shard):
                raise DamageError(f"{self.path}: {error}: {REPAIR}") from error

    def _seal(self, shard: int) -> None:
        """Write the files of a shard; DamageError where a chunk of it is not what was written."""
        chunks = self.chunks_of(shard)
        parts, tables, records = [], [], []
        for chunk in chunks:
            waiting = self._read_waiting(chunk)
            record = CommitRecord.from_bytes(
                waiting[2], chunk, self.chunk_slice(chunk), self.arrays
            )
            found = {name: digest(values) for name, values in waiting[0].items()}
            if {**found, INDEX: rows_digest(waiting[1])} != record.sha256:
                raise DamageError(f"{staged_name(shard, chunk)} is damaged")
            parts.append(waiting[0])
            tables.append(waiting[1])
            records.append(record)
        for name in self.arrays:
            values = np.concatenate([part[name] for part in parts])
            data = array_bytes(values, self.manifest.chunk_rows, self.shard_rows)
            self.write(self._file(name, shard), data)
        table = pa.concat_tables(tables).select(INDEX_SCHEMA.names)
        self.write(index_name(shard), parquet_bytes([table.combine_chunks()], INDEX_SCHEMA))
        self.write(record_name(shard), shard_bytes(shard, records))
        for chunk in chunks:
            self._remove(staged_name(shard, chunk))
        self._forget()

    def _let_wait(self, chunk: int) -> None:
        """Write a chunk of a sealed shard as one that waits; DamageError for a damaged one."""
        try:
            with reading(self.path):
                record = self.commit_record(chunk)
                data = staged_bytes(self.read_chunk(chunk), self.index_part(chunk), record)
        except DamageError as error:
            raise DamageError(
                f"{self.path}: chunk {chunk} is damaged ({error}): {REPAIR}"
            ) from error
        self.write(staged_name(chunk // self.per_shard, chunk), data)

    def _remove(self, name: str) -> None:
        self.require_inside(name)
        with contextlib.suppress(FileNotFoundError):
            self.fs.rm_file(f"{self.root}/{name}")

    def _forget_index(self) -> None:
        self._forget()


def open_writer(path: str) -> StoreWriter:
    """Open an existing store to change it; StoreError if none is at `path`, or a linked one."""
    store = StoreWriter(str(path))
    if store.manifest.parts is not None:
        raise StoreError(
            f"{path} shows rows of other stores and has none of its own: change those, then make "
            "it again"
        )
    return store if store.manifest.shard_rows is None else ShardedWriter(str(path))


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
