"""A store that is being written: chunks, their commit records, and the end of a pass.

A chunk counts only when its commit record exists, and that is written last.
"""

import os
from collections.abc import Collection
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa

from nvg.files import is_local, write_bytes
from nvg.format.base import (
    ERROR,
    ORDER,
    Arrays,
    StoreError,
    digest,
    file_schema,
    parquet_bytes,
    part_name,
)
from nvg.format.index import has_status, rows_digest, with_split
from nvg.format.manifest import Manifest
from nvg.format.record import INDEX, CommitRecord, record_name
from nvg.format.schema import array_shapes
from nvg.store.store import Store

UNFINISHED = (".tmp", ".partial")  # endings of our temporary files, and of zarr's


class StoreWriter(Store):
    """A store that may be changed. One process at a time changes it (nvg.store.lock); chunks may be
    written by many."""

    ZARR_MODE = "r+"

    def write_chunk(self, chunk: int, arrays: Arrays, index: pa.Table) -> None:
        """Write one chunk's rows and index part, then its commit record, atomically and last."""
        self.require_shapes(chunk, arrays)
        rows = self.chunk_slice(chunk)
        for name in self.arrays:
            self.require_inside("/".join([name, "c", str(chunk), *"0" * (arrays[name].ndim - 1)]))
        for name in self.arrays:
            self.group[name][rows] = arrays[name]
        part = self.write_index_part(chunk, index)
        sums = {name: digest(arrays[name]) for name in self.arrays}
        record = CommitRecord(
            chunk=chunk,
            rows=(rows.start, rows.stop),
            errors=int(np.sum(has_status(index, ERROR))),
            sha256={**sums, INDEX: rows_digest(part)},
        )
        self.write(record_name(chunk), record.to_bytes())

    def require_shapes(self, chunk: int, arrays: Arrays) -> None:
        """ValueError for arrays that are not those of a chunk."""
        rows = self.chunk_slice(chunk)
        for name, (_, shape) in array_shapes(self.manifest).items():
            wanted = (rows.stop - rows.start, *shape[1:])
            if arrays[name].shape != wanted:
                raise ValueError(f"{name} has shape {arrays[name].shape}, chunk {chunk} {wanted}")

    def write_index_part(self, chunk: int, index: pa.Table) -> pa.Table:
        """Write the index rows of one chunk; returns them as they are written."""
        schema = file_schema(self.manifest.val_rows)
        table = with_split(index).select(schema.names).cast(schema)
        self.write(part_name(chunk), parquet_bytes([table], schema))
        return table

    def withdraw(self, chunk: int) -> None:
        """Take a chunk's commit back; its rows count as missing."""
        self.require_inside(record_name(chunk))
        self.fs.rm_file(f"{self.root}/{record_name(chunk)}")
        self._forget_index()

    def withdraw_chunks(self, chunks: Collection[int]) -> None:
        """Take back the commits of some chunks, whose index rows need not be readable.

        Of a finished store it writes the index parts of the others first, then the manifest, and
        removes the records last, so that a kill in between loses nothing.
        """
        committed = self.committed()
        kept = [chunk for chunk in committed if chunk not in set(chunks)]
        if self.finished and len(kept) < self.chunks:
            for chunk in kept:
                self.write_index_part(chunk, self.index_part(chunk))
            self.reopen()
        for chunk in chunks:
            self.withdraw(chunk)

    def withdraw_counts(self) -> None:
        """Declare the store unfinished where what it counts is damaged; here nothing is."""

    def lengthen(self, order: bytes, manifest: Manifest) -> None:
        """Declare a finished store unfinished, with a manifest of more rows, in the order of ORDER.

        `complete_layout` then resizes the arrays. The manifest is written last: a kill before it
        leaves the store as it was.
        """
        for chunk in self.committed():
            self.write_index_part(chunk, self.index_part(chunk))
        self.write(ORDER, order)
        self.reopen(manifest)

    def reopen(self, manifest: Manifest | None = None) -> None:
        """Declare the store unfinished again, perhaps with another manifest.

        Its chunks need their index parts.
        """
        self._write_manifest(replace(manifest or self.manifest, finished=False, errors=0))

    def finish(self) -> None:
        """Join the index parts, then mark the store finished; StoreError if a chunk is missing.

        Workers that were lost on the way may have left files: the store is swept before.
        """
        self.require_whole()
        committed = range(self.chunks)
        self.sweep()
        schema = file_schema(self.manifest.val_rows)
        parts = (self.index_part(chunk).select(schema.names) for chunk in committed)
        self.write("index.parquet", parquet_bytes(parts, schema))
        errors = sum(self.commit_record(chunk).errors for chunk in committed)
        self._write_manifest(replace(self.manifest, finished=True, errors=errors))
        self.fs.rm([f"{self.root}/{part_name(chunk)}" for chunk in committed])

    def require_whole(self) -> None:
        """StoreError if a chunk is missing."""
        if self.missing():
            found = len(self.committed())
            raise StoreError(
                f"{self.path}: {found} of {self.chunks} chunks are committed: complete it with "
                "`nvgctl tokenize ... --resume`"
            )

    def sweep(self) -> None:
        """Remove what a killed writer left: half a file, or index parts after they were joined."""
        parts = {f"{self.root}/{part_name(n)}" for n in range(self.chunks) if self.finished}
        for path in self.fs.find(self.root):
            if path.endswith(UNFINISHED) or path in parts:
                self.require_inside(path[len(self.root) :].lstrip("/"))
                self.fs.rm_file(path)

    def write(self, name: str, data: bytes) -> None:
        """Write one file of the store, atomically."""
        self.require_inside(name)
        write_bytes(self.fs, f"{self.root}/{name}", data)

    def require_inside(self, name: str) -> None:
        """StoreError where a link in the store leads the folder of a file out of it.

        Whoever made a store must not say where else its user writes. A file that is a link itself
        is replaced.
        """
        if not is_local(self.fs):
            return
        root = os.path.realpath(self.root)
        folder = os.path.realpath(os.path.dirname(os.path.join(root, name)))
        if not Path(folder).is_relative_to(root):
            raise StoreError(f"{self.path}: {name} leads to {folder} by a link: remove the link")

    def _write_manifest(self, manifest: Manifest) -> None:
        self.manifest = manifest.sealed()
        self.write("manifest.json", self.manifest.to_bytes())
        self._forget_index()

    def _forget_index(self) -> None:
        self.__dict__.pop("index", None)
