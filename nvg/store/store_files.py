"""The files of a store: its arrays, commit records and bytes, which the schema describes.

Legend: R row of the store, X view, N position, T token.
"""

import os
from functools import cached_property
from typing import Any, Literal, NamedTuple

import numpy as np
import zarr

from nvg.errors import first_line
from nvg.files import is_local, require_regular, storage
from nvg.format.base import ARRAYS, FEATURES, Arrays, StoreError, digest
from nvg.format.damage import DAMAGE, DamageError
from nvg.format.manifest import MOST_BYTES, Manifest
from nvg.format.record import CommitRecord, record_name
from nvg.format.schema import array_shapes, require_arrays
from nvg.geometry import Geometry
from nvg.store.listing import Listing

Span = tuple[int | None, int | None]
"""First byte, and the one after the last."""
WHOLE: Span = (None, None)
MOST_RECORD, MOST_READ = 1 << 26, 1 << 34  # bytes of a commit record, of what is read at once


class Origin(NamedTuple):
    """Which rows of which stored chunk a chunk of a store shows."""

    store: "StoreFiles"
    chunk: int
    rows: np.ndarray[Any, Any] | None = None
    """Of the stored chunk; None: all."""
    ids: np.ndarray[Any, Any] | None = None
    """What becomes of its labels; None: they are as stored."""


def part(data: bytes, span: Span) -> bytes:
    """The span of a file, of what a server answered: some know no spans and send the file."""
    start, stop = span
    if start is None or len(data) <= (-start if stop is None else stop - start):
        return data
    return data[start:stop]


class StoreFiles:
    """What of a store is on the disk or behind a URL; `len()` counts its rows."""

    per_shard = 1
    """Chunks that lie in one file."""
    has_records = True
    """Whether each chunk has a record in a file of its own."""
    ZARR_MODE: Literal["r", "r+"] = "r"

    def __init__(self, path: str) -> None:
        self.path = path.rstrip("/")
        self.fs, self.root = storage(self.path)
        self.listing = Listing(self.fs, self.root)
        try:
            data = self.head("manifest.json", MOST_BYTES + 1)
        except (FileNotFoundError, NotADirectoryError):
            raise StoreError(f"{path} is not a store: it has no manifest.json") from None
        except ValueError as error:
            raise StoreError(f"{path} is not a store: {error}") from None
        self.manifest = Manifest.from_bytes(data, path)
        self.geometry = Geometry(self.manifest.grid)
        self._is_described = False

    def __len__(self) -> int:
        return self.manifest.rows

    @cached_property
    def group(self) -> Any:
        """The Zarr group that holds the arrays; StoreError unless they are those of the schema."""
        self.require_described()
        try:
            group = zarr.open_group(self.path, mode=self.ZARR_MODE, zarr_format=3)
        except FileNotFoundError:
            raise StoreError(f"{self.path} has lost its zarr.json; tokenize again") from None
        except DAMAGE as error:
            raise self._undescribed("zarr.json", error) from error
        for name in self.arrays:
            if not self.fs.exists(f"{self.root}/{name}/zarr.json"):
                raise StoreError(
                    f"{self.path} has lost its {name}/zarr.json: repair it with "
                    "`nvgctl tokenize ... --resume`"
                )
        return group

    def array(self, name: str) -> Any:
        """An array as Zarr sees it; StoreError where its description cannot be read."""
        group = self.group
        try:
            return group[name]
        except DAMAGE as error:
            raise self._undescribed(f"{name}/zarr.json", error) from error

    def _undescribed(self, name: str, error: Exception) -> StoreError:
        return StoreError(
            f"{self.path}: {name} cannot be read ({first_line(error)}): restore it from a copy, or "
            "tokenize again"
        )

    def require_described(self) -> None:
        """StoreError unless Zarr's description of each array is as the manifest says; read once."""
        if not self._is_described:
            require_arrays(self.head, self.manifest, self.path)
            self._is_described = True

    @property
    def leaves(self) -> Any:
        """Zarr array [R, X, N], uint8 or uint16."""
        return self.array("leaves")

    @property
    def content(self) -> Any:
        """Zarr array [R, X, T], uint16."""
        return self.array("content")

    @property
    def label(self) -> Any:
        """Zarr array [R], int32."""
        return self.array("label")

    @property
    def arrays(self) -> tuple[str, ...]:
        """Names of its arrays: ARRAYS, and `features` [R, X, N, P], uint8, where they are kept."""
        return (*ARRAYS, FEATURES) if self.manifest.features else ARRAYS

    @property
    def is_listed(self) -> bool:
        """Whether the storage says which files there are."""
        protocols = self.fs.protocol
        return not {"http", "https"} & {
            *((protocols,) if isinstance(protocols, str) else protocols)
        }

    @property
    def finished(self) -> bool:
        """Whether every chunk is committed and the index is written."""
        return self.manifest.finished

    @property
    def chunks(self) -> int:
        """How many chunks the store has when finished."""
        return -(-len(self) // self.manifest.chunk_rows)

    @property
    def chunk_starts(self) -> np.ndarray[Any, Any]:
        """The first row of each chunk."""
        return np.arange(0, len(self), self.manifest.chunk_rows)

    def chunk_slice(self, chunk: int) -> slice:
        """Rows of one chunk."""
        size = self.manifest.chunk_rows
        return slice(chunk * size, min((chunk + 1) * size, len(self)))

    def origin(self, chunk: int) -> Origin:
        """Where the rows of a chunk are stored."""
        return Origin(self, chunk)

    def committed(self) -> list[int]:
        """Chunks that have a commit record, ascending; those that should have one over https.

        There no folder can be listed, and only a finished store is read.
        """
        if not self.is_listed:
            return list(range(self.chunks)) if self.finished else []
        return self.listing.numbers("commits", record_name, self.chunks, self.finished)

    def missing(self) -> list[int]:
        """Chunks that are not there, whatever a listing says; perhaps not all, none if none is."""
        left = sorted({*range(self.chunks)}.difference(self.committed()))
        return self.listing.absent(left, record_name)

    def read(self, name: str, start: int | None = None, stop: int | None = None) -> bytes:
        """The bytes of one file of the store, or a part; DamageError for what is no file."""
        self.require_readable(name, (start, stop))
        data: bytes = self.fs.cat_file(f"{self.root}/{name}", start=start, end=stop)
        return part(data, (start, stop))

    def require_readable(self, name: str, span: Span) -> None:
        """DamageError for what is no file of this disk, or more bytes than a store has there."""
        is_record = name.startswith("commits/") and name.endswith(".json")
        try:
            self._require_file(name, MOST_RECORD if is_record else MOST_READ, span)
        except ValueError as error:
            if is_record or "/c/" in name:  # who reads a chunk says which, and the remedy
                raise DamageError(str(error)) from None
            raise DamageError(f"{self.path}: {error}: restore it from a copy") from None

    def head(self, name: str, count: int) -> bytes:
        """The first so many bytes of one file of the store; ValueError for what is no file."""
        self._require_file(name)
        data: bytes = self.fs.cat_file(f"{self.root}/{name}", start=0, end=count)
        return data

    def commit_record(self, chunk: int) -> CommitRecord:
        """The commit record of a chunk; ValueError for one that does not fit the store."""
        data, rows = self.read(record_name(chunk)), self.chunk_slice(chunk)
        return CommitRecord.from_bytes(data, chunk, rows, self.arrays)

    def intact_chunk(self, chunk: int, names: tuple[str, ...]) -> Arrays:
        """Some arrays of one chunk; DamageError unless they are those that were committed."""
        record = self.commit_record(chunk)
        found = {name: self.stored(name, chunk) for name in names}
        for name, values in found.items():
            if digest(values) != record.sha256[name]:
                raise DamageError(f"{name} does not match its checksum")
        return found

    def read_chunk(self, chunk: int) -> Arrays:
        """Every array of the store, the rows of one chunk."""
        return {name: self.stored(name, chunk) for name in self.arrays}

    def stored(self, name: str, chunk: int) -> np.ndarray[Any, Any]:
        """The rows of one chunk of an array, unchecked; ValueError for what is no file."""
        self.require_chunk(name, chunk)
        values: np.ndarray[Any, Any] = self.group[name][self.chunk_slice(chunk)]
        return values

    def stored_rows(self, name: str, rows: Any) -> np.ndarray[Any, Any]:
        """Some rows of an array, ascending, unchecked; ValueError for what is no file."""
        chunks = np.searchsorted(self.chunk_starts, np.asarray(rows), side="right") - 1
        for chunk in np.unique(chunks).tolist():
            self.require_chunk(name, chunk)
        values: np.ndarray[Any, Any] = self.group[name].oindex[rows]
        return values

    def require_chunk(self, name: str, chunk: int) -> None:
        """ValueError where a chunk of an array is no file."""
        self._require_file(self.chunk_file(name, chunk))

    def chunk_file(self, name: str, chunk: int) -> str:
        """Where a chunk of an array is, unless all of it is zero: then there is no such file."""
        _, shape = array_shapes(self.manifest)[name]
        return "/".join([name, "c", str(chunk), *"0" * (len(shape) - 1)])

    def chunk_span(self, name: str, chunk: int) -> Span:
        """Which part of that file it is."""
        return WHOLE

    def _require_file(self, name: str, most: int | None = None, span: Span = WHOLE) -> None:
        """ValueError for what is no file of this disk, or where a span of it has more bytes."""
        if not is_local(self.fs):
            return
        path, (start, stop) = f"{self.root}/{name}", span
        require_regular(path)
        if start is None:  # all of it; one that is lost is said by who reads it
            start, stop = 0, os.path.getsize(path) if os.path.exists(path) else 0
        if most is not None and (-start if stop is None else stop - start) > most:
            raise ValueError(f"{name} is over {most:,} bytes")
