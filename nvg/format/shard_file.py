"""A shard of an array: chunks one after another, then where each lies (Zarr v3's sharding codec).

Legend: R row of the store.

Zarr reads and writes the same bytes. Doing so here costs no event loop for a chunk, and a shard is
made as a whole, to be written atomically.
"""

import struct
from typing import Any, Final

import google_crc32c
import numpy as np
from numcodecs import blosc

Values = np.ndarray[Any, Any]
Places = np.ndarray[Any, np.dtype[np.uint64]]

COMPRESSOR: Final = "lz4"
LEVEL: Final = 5
"""With bit shuffle. Tokens come out as small as by zstd, leaves 5 % larger, twice as fast."""
NOWHERE = np.uint64(2**64 - 1)  # offset and length of a chunk that is not there
PLACE = 16  # bytes of a place: offset and length
HEADER = 16  # bytes of Blosc's header, whose second number is the decoded size
SUM = 4  # bytes of a CRC32C


def shard_bytes(values: Values, chunk_rows: int, shard_rows: int) -> bytes:
    """The file of a shard with these rows, [R, ...]; the last chunk is filled up with zeros."""
    codec = blosc.Blosc(COMPRESSOR, LEVEL, blosc.BITSHUFFLE)
    places = np.full((shard_rows // chunk_rows, 2), NOWHERE, "<u8")
    parts, at = [], 0
    for number, start in enumerate(range(0, len(values), chunk_rows)):
        chunk = np.zeros((chunk_rows, *values.shape[1:]), values.dtype)
        rows = values[start : start + chunk_rows]
        chunk[: len(rows)] = rows
        parts.append(_with_sum(codec.encode(chunk)))
        places[number] = at, len(parts[-1])
        at += len(parts[-1])
    return b"".join([*parts, _with_sum(places.tobytes())])


def tail_length(chunks: int) -> int:
    """Bytes at the end of a shard that say where its chunks lie."""
    return chunks * PLACE + SUM


def chunk_places(tail: bytes, chunks: int) -> Places:
    """Offset and length of each chunk, [chunks, 2]; ValueError for other bytes."""
    if len(tail) != tail_length(chunks):
        raise ValueError("a shard is cut short")
    places: Places = np.frombuffer(_without_sum(tail, "the places of its chunks"), "<u8")
    return places.reshape(chunks, 2)


def read_chunk(data: bytes, out: Values) -> None:
    """Decode a chunk into `out`; ValueError for the bytes of another, before memory is taken."""
    unpack(_without_sum(data, "a chunk"), out)


def unpack(data: bytes | memoryview, out: Values) -> None:
    """Decode Blosc's bytes, which others may follow; ValueError where their header says otherwise
    than `out`, or more than there are."""
    if len(data) < HEADER:
        raise ValueError("a chunk is cut short")
    held, _, packed = struct.unpack_from("<III", data, 4)
    if held != out.nbytes:
        raise ValueError(f"a chunk is {held} bytes, not {out.nbytes}")
    if not HEADER <= packed <= len(data):
        raise ValueError(f"a chunk is {packed} bytes packed, not {len(data)}")
    blosc.decompress(data, out)


def most_bytes(decoded: int) -> int:
    """Bytes that a chunk of so many decoded ones takes at most."""
    return decoded + HEADER + SUM


def _with_sum(data: bytes) -> bytes:
    return data + struct.pack("<I", google_crc32c.value(data))


def _without_sum(data: bytes, what: str) -> bytes:
    body, found = data[:-SUM], data[-SUM:]
    if len(data) < SUM or struct.pack("<I", google_crc32c.value(body)) != found:
        raise ValueError(f"CRC32C of {what} does not match")
    return body
