"""Reads stored chunks and compares each with its checksums.

Decoding is that of docs/FORMAT.md, by the codecs that Zarr uses and without its event loop, which
would take longer than they do.
"""

import time
from typing import Any

import google_crc32c
import numpy as np

from nvg.format.base import Arrays, digest
from nvg.format.damage import DamageError, reading
from nvg.format.record import CommitRecord, record_name
from nvg.format.shard_file import unpack
from nvg.loader.chunk_files import ChunkFiles, Read
from nvg.loader.pace import Pace
from nvg.loader.scratch import Bytes, Scratch
from nvg.store.store_files import WHOLE, Span, StoreFiles

CRC_BYTES = 4
RESIDUE = 0x48674BC7  # CRC32C of any bytes that their own CRC32C follows
NOT_YET, NO_FILE = -1, -2  # where a CRC32C would be


class ChunkReader:
    """Some arrays of a plain store, chunk by chunk.

    What is read first is compared with its SHA-256. The CRC32C that the file ends with is compared
    each time, with its bytes and with that of the file that had the SHA-256; so another file in its
    place, sound in itself, is compared anew.
    """

    def __init__(self, store: StoreFiles, names: tuple[str, ...], pace: Pace) -> None:
        self.store, self.names, self.pace = store, names, pace
        self.files = ChunkFiles(store)
        arrays = {name: store.array(name) for name in names}
        rows = store.manifest.chunk_rows
        self.kinds = {
            name: ((rows, *array.shape[1:]), array.dtype) for name, array in arrays.items()
        }
        """Shape and dtype of a stored chunk of each array."""
        self.swapped = {name for name, array in arrays.items() if _is_big_endian(array)}
        self.known = {name: np.full(store.chunks, NOT_YET, np.int64) for name in names}

    def empty(self, scratch: Scratch) -> Arrays:
        """Uninitialized arrays of as many rows as a stored chunk has; those at the end are none."""
        return {name: scratch.array(name, *kind) for name, kind in self.kinds.items()}

    def read(self, chunk: int, into: Arrays, scratch: Scratch) -> bool:
        """Decode a chunk into arrays of `empty`; whether any of it was compared with its SHA-256.

        DamageError unless it is what was committed, WorkError when storage fails.
        """
        try:
            return self._read(chunk, into, scratch)
        except DamageError:
            if not self.files.drop(chunk):
                raise
        # What was in the cache was damaged, or of another time.
        return self._read(chunk, into, scratch)

    def _read(self, chunk: int, into: Arrays, scratch: Scratch) -> bool:
        with reading(self.store.path):
            began = time.perf_counter()
            files = self.files.read(chunk, self._spans(chunk), scratch)
            came = time.perf_counter()
            is_new = self._decode(chunk, files, into)
            self.pace.saw(came - began, time.perf_counter() - came)
            return is_new

    def _spans(self, chunk: int) -> dict[str, Span]:
        found = {
            self.store.chunk_file(name, chunk): self.store.chunk_span(name, chunk)
            for name in self.names
        }
        is_new = any(known[chunk] == NOT_YET for known in self.known.values())
        return found | {record_name(chunk): WHOLE} if is_new and self.store.has_records else found

    def _decode(self, chunk: int, files: Read, into: Arrays) -> bool:
        changed = []
        for name in self.names:
            data = files[self.store.chunk_file(name, chunk)]
            crc = NO_FILE if data is None else _crc(name, data)
            self._unpack(name, data, into[name])
            if crc != self.known[name][chunk]:
                changed.append((name, crc))
        if changed:
            record = self._record(chunk, files)
            rows = self.store.chunk_slice(chunk)
            for name, crc in changed:
                if digest(into[name][: rows.stop - rows.start]) != record.sha256[name]:
                    raise DamageError(f"{name} does not match its checksum")
                self.known[name][chunk] = crc
        return bool(changed)

    def _record(self, chunk: int, files: Read) -> CommitRecord:
        data = files.get(record_name(chunk))
        if data is None or not self.store.has_records:  # or of one that was another when last read
            return self.store.commit_record(chunk)
        rows = self.store.chunk_slice(chunk)
        return CommitRecord.from_bytes(bytes(data), chunk, rows, self.store.arrays)

    def _unpack(self, name: str, data: bytes | Bytes | None, values: np.ndarray[Any, Any]) -> None:
        if data is None:  # Zarr keeps no file of a chunk of zeros
            values[:] = 0
            return
        view = memoryview(data) if isinstance(data, bytes) else data.data
        try:
            unpack(view[:-CRC_BYTES], values)
        except ValueError as error:
            raise ValueError(f"{name}: {error}") from error
        if name in self.swapped:
            values.byteswap(inplace=True)


def _is_big_endian(array: Any) -> bool:
    endian = getattr(array.metadata.codecs[0], "endian", None)
    return endian is not None and endian.value == "big"


def _crc(name: str, data: bytes | Bytes) -> int:
    """The CRC32C at the end of a file; ValueError unless it is that of the bytes before."""
    if google_crc32c.value(data) != RESIDUE:
        raise ValueError(f"{name} does not match its CRC32C")
    return int.from_bytes(data[-CRC_BYTES:], "little")
