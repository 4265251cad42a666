"""The store on disk: Zarr arrays of tokens, an Arrow index, commit records (docs/FORMAT.md).

Legend: R row of the store, X view, N position, T token, S stage.

A store is readable once its manifest says it is finished. Chunks are written by one task each; a
chunk counts only when its commit record exists, and that is written last.
"""

import hashlib
import json
from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import cached_property
from typing import Any

import fsspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import zarr

from nvg.files import json_bytes, write_bytes
from nvg.geometry import Geometry
from nvg.store.checks import chunk_faults, index_faults
from nvg.store.format import (
    ARRAYS,
    ERROR,
    FEATURES,
    INDEX_SCHEMA,
    OK,
    Arrays,
    StoreError,
    digest,
    parquet_bytes,
    part_name,
    read_parquet,
)
from nvg.store.manifest import Manifest


class Store:
    """An existing store: `len()`, `.geometry`, Zarr arrays `.leaves [R, X, N]`,
    `.content [R, X, T]`, `.label [R]`, and the Arrow table `.index`."""

    def __init__(self, path: str, writable: bool = False) -> None:
        self.path, self.writable = path.rstrip("/"), writable
        self.fs, self.root = fsspec.core.url_to_fs(self.path)
        try:
            data = self.read("manifest.json")
        except (FileNotFoundError, NotADirectoryError):
            raise StoreError(f"{path} is not a store: it has no manifest.json") from None
        self.manifest = Manifest.from_bytes(data, path)
        self.geometry = Geometry(self.manifest.grid)

    def __len__(self) -> int:
        return self.manifest.rows

    @cached_property
    def group(self) -> Any:
        """The Zarr group that holds the arrays."""
        try:
            return zarr.open_group(self.path, mode="r+" if self.writable else "r")
        except FileNotFoundError:
            raise StoreError(f"{self.path} has lost its zarr.json; tokenize anew") from None

    @property
    def leaves(self) -> Any:
        """Zarr array [R, X, N], uint8 or uint16."""
        return self.group["leaves"]

    @property
    def content(self) -> Any:
        """Zarr array [R, X, T], uint16."""
        return self.group["content"]

    @property
    def label(self) -> Any:
        """Zarr array [R], int32."""
        return self.group["label"]

    @property
    def arrays(self) -> tuple[str, ...]:
        """Names of its arrays: ARRAYS, and `features` [R, X, N, P], uint8, where they are kept."""
        return (*ARRAYS, FEATURES) if self.manifest.features else ARRAYS

    @property
    def finished(self) -> bool:
        """Whether every chunk is committed and the index is written."""
        return self.manifest.finished

    @cached_property
    def index(self) -> pa.Table:
        """One row per image, in order; of an unfinished store the committed chunks only."""
        if self.finished:
            return self._table("index.parquet")
        parts = [self._table(part_name(chunk)) for chunk in self.committed()]
        return pa.concat_tables(parts) if parts else INDEX_SCHEMA.empty_table()

    def require_finished(self) -> None:
        """StoreError unless finished."""
        if not self.finished:
            raise StoreError(
                f"{self.path} is unfinished ({len(self.committed())} of {self.chunks} chunks): "
                "complete it with `nvgctl tokenize ... --resume`"
            )

    def require_tokenizer(self, fingerprint: str) -> None:
        """StoreError unless the tokens were made by the tokenizer with this fingerprint."""
        own = self.manifest.tokenizer
        if own != fingerprint:
            raise StoreError(
                f"{self.path} was made by tokenizer {own[:12]}, not {fingerprint[:12]}: "
                "use that tokenizer, or tokenize into another store"
            )

    def ok_rows(self) -> np.ndarray[Any, Any]:
        """Rows whose image could be tokenized, int64, ascending."""
        good = np.asarray(self.index["status"]) == OK
        return np.asarray(self.index["row"])[good]

    @property
    def chunks(self) -> int:
        """How many chunks the store has when finished."""
        return -(-len(self) // self.manifest.chunk_rows)

    def chunk_slice(self, chunk: int) -> slice:
        """Rows of one chunk."""
        size = self.manifest.chunk_rows
        return slice(chunk * size, min((chunk + 1) * size, len(self)))

    def committed(self) -> list[int]:
        """Chunks that have a commit record, ascending."""
        try:
            names = self.fs.ls(f"{self.root}/commits", detail=False, refresh=True)
        except FileNotFoundError:
            return []
        stems = [name.rsplit("/", 1)[1] for name in names if name.endswith(".json")]
        return sorted(int(stem.removesuffix(".json")) for stem in stems)

    def read(self, name: str) -> bytes:
        """The bytes of one file of the store."""
        data: bytes = self.fs.cat_file(f"{self.root}/{name}")
        return data

    def write_chunk(self, chunk: int, arrays: Arrays, index: pa.Table) -> None:
        """Write one chunk's rows and index part, then its commit record, atomically and last."""
        rows = self.chunk_slice(chunk)
        for name in self.arrays:
            wanted = (rows.stop - rows.start, *self.group[name].shape[1:])
            if arrays[name].shape != wanted:
                raise ValueError(f"{name} has shape {arrays[name].shape}, chunk {chunk} {wanted}")
        for name in self.arrays:
            self.group[name][rows] = arrays[name]
        self.write_index_part(chunk, index)
        errors = int(np.sum(np.asarray(index["status"]) == ERROR))
        record = {
            "chunk": chunk,
            "rows": [rows.start, rows.stop],
            "errors": errors,
            "sha256": {name: digest(arrays[name]) for name in self.arrays},
        }
        self._write_json(f"commits/{chunk:05d}.json", record)

    def write_index_part(self, chunk: int, index: pa.Table) -> None:
        """Write the index rows of one chunk."""
        part = parquet_bytes(index.cast(INDEX_SCHEMA))
        write_bytes(self.fs, f"{self.root}/{part_name(chunk)}", part)

    def index_part(self, chunk: int) -> pa.Table:
        """The index rows of one committed chunk."""
        if not self.finished:
            return self._table(part_name(chunk))
        rows = self.chunk_slice(chunk)
        return self.index.slice(rows.start, rows.stop - rows.start)

    def withdraw(self, chunk: int) -> None:
        """Take a chunk's commit back; its rows count as missing."""
        self.fs.rm_file(f"{self.root}/commits/{chunk:05d}.json")
        self.__dict__.pop("index", None)

    def reopen(self, manifest: Manifest | None = None) -> None:
        """Declare the store unfinished again, perhaps with another manifest.

        Its chunks need their index parts.
        """
        self._write_manifest(replace(manifest or self.manifest, finished=False, errors=0))

    def finish(self) -> None:
        """Join the index parts, then mark the store finished; StoreError if a chunk is missing."""
        committed = self.committed()
        if committed != list(range(self.chunks)):
            raise StoreError(f"{self.path}: {len(committed)} of {self.chunks} chunks are committed")
        sink = pa.BufferOutputStream()
        with pq.ParquetWriter(sink, INDEX_SCHEMA, compression="zstd") as writer:
            for chunk in committed:
                writer.write_table(self._table(part_name(chunk)))
        write_bytes(self.fs, f"{self.root}/index.parquet", sink.getvalue().to_pybytes())
        errors = sum(self.commit_record(chunk)["errors"] for chunk in committed)
        self._write_manifest(replace(self.manifest, finished=True, errors=errors))
        self.fs.rm([f"{self.root}/{part_name(chunk)}" for chunk in committed])

    def commit_record(self, chunk: int) -> dict[str, Any]:
        """What the commit record of a chunk says: its rows, error count and checksums."""
        record: dict[str, Any] = json.loads(self.read(f"commits/{chunk:05d}.json"))
        return record

    def read_chunk(self, chunk: int) -> Arrays:
        """Every array of the store, the rows of one chunk."""
        rows = self.chunk_slice(chunk)
        return {name: self.group[name][rows] for name in self.arrays}

    def chunk_faults(self, chunk: int) -> list[str]:
        """What is wrong with one committed chunk and its index rows, a line each."""
        record, part = self.commit_record(chunk), self.index_part(chunk)
        rows, codebook_size = self.chunk_slice(chunk), self.manifest.codebook_size
        return chunk_faults(self.read_chunk(chunk), record, part, rows, codebook_size)

    def verify(self, progress: Callable[[Iterable[int]], Iterable[int]] = iter) -> list[str]:
        """Re-read everything; one line per fault, none when the store is intact.

        An unfinished store is a fault; its committed chunks are still checked.
        """
        committed = self.committed()
        faults = self._file_faults()
        if not self.finished:
            faults.insert(0, f"unfinished: {len(committed)} of {self.chunks} chunks are committed")
        else:
            missing = sorted(set(range(self.chunks)) - set(committed))
            if missing:
                faults.append(f"chunks without a commit record: {missing}")
            try:
                faults += index_faults(self.index, len(self), self.manifest.errors)
            except Exception as error:  # any damage to the index is a fault to report, not a crash
                return [*faults, f"index cannot be read: {_one_line(error)}"]
        for chunk in progress(committed):
            try:
                faults += [f"chunk {chunk}: {fault}" for fault in self.chunk_faults(chunk)]
            except Exception as error:  # likewise for damaged chunk files
                faults.append(f"chunk {chunk}: cannot be read: {_one_line(error)}")
        return faults

    def is_intact(self, name: str) -> bool:
        """Whether a file that the manifest has a checksum of is there and matches it."""
        try:
            return hashlib.sha256(self.read(name)).hexdigest() == self.manifest.checksums[name]
        except FileNotFoundError:
            return False

    def _file_faults(self) -> list[str]:
        damaged = [name for name in sorted(self.manifest.checksums) if not self.is_intact(name)]
        return [
            f"{name} does not match its checksum"
            if self.fs.exists(f"{self.root}/{name}")
            else f"{name} is missing"
            for name in damaged
        ]

    def _table(self, name: str) -> pa.Table:
        return read_parquet(self.read(name))

    def _write_manifest(self, manifest: Manifest) -> None:
        write_bytes(self.fs, f"{self.root}/manifest.json", manifest.to_bytes())
        self.manifest = manifest
        self.__dict__.pop("index", None)

    def _write_json(self, name: str, value: Any) -> None:
        write_bytes(self.fs, f"{self.root}/{name}", json_bytes(value))


def _one_line(error: Exception) -> str:
    return f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"


def open_store(path: str, writable: bool = False) -> Store:
    """Open an existing store, finished or not; StoreError if there is none at `path`."""
    return Store(str(path), writable)


def store_exists(path: str) -> bool:
    """Whether something that calls itself a store is at `path`."""
    fs, root = fsspec.core.url_to_fs(str(path).rstrip("/"))
    return bool(fs.exists(f"{root}/manifest.json"))
