"""Files of shards: those that Zarr reads and writes, checked before memory is taken."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st
from zarr.codecs import BloscCodec, Crc32cCodec

from nvg.format.shard_file import (
    COMPRESSOR,
    LEVEL,
    chunk_places,
    most_bytes,
    read_chunk,
    shard_bytes,
    tail_length,
)

CHUNK, SHARD = 4, 12


def zarr_array(path: Path, values: np.ndarray[Any, Any]) -> Any:
    """An array of the store's kind with this shape, nothing written."""
    group = zarr.open_group(str(path), mode="w")
    codec = BloscCodec(cname=COMPRESSOR, clevel=LEVEL, shuffle="bitshuffle")
    return group.create_array(
        "values",
        shape=values.shape,
        chunks=(CHUNK, *values.shape[1:]),
        shards=(SHARD, *values.shape[1:]),
        dtype=values.dtype,
        fill_value=0,
        compressors=[codec, Crc32cCodec()],
    )


@pytest.mark.parametrize(("rows", "kind"), [(1, "uint8"), (7, "uint16"), (12, "int32")])
def test_zarr_reads_what_is_written_and_writes_what_is_read(
    tmp_path: Path, rows: int, kind: str
) -> None:
    """Both ways, the last chunk not full."""
    shape = (rows, 2, 16) if kind != "int32" else (rows,)
    values = np.random.default_rng(rows).integers(1, 200, shape).astype(kind)
    array = zarr_array(tmp_path, values)
    data = shard_bytes(values, CHUNK, SHARD)
    file = tmp_path / "values" / "c" / "/".join("0" * values.ndim)
    file.parent.mkdir(parents=True)
    file.write_bytes(data)
    np.testing.assert_array_equal(array[:], values)
    file.unlink()
    array[:] = values
    np.testing.assert_array_equal(read_all(file.read_bytes(), values), values)


def read_all(data: bytes, values: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """The rows of a shard, chunk by chunk."""
    places, found = chunk_places(data[-tail_length(SHARD // CHUNK) :], SHARD // CHUNK), []
    for start, length in places[: -(-len(values) // CHUNK)].tolist():
        out = np.empty((CHUNK, *values.shape[1:]), values.dtype)
        assert length <= most_bytes(out.nbytes)
        read_chunk(data[start : start + length], out)
        found.append(out)
    return np.concatenate(found)[: len(values)]


@settings(max_examples=60, deadline=None)
@given(place=st.integers(0, 10**6), bit=st.integers(0, 7))
def test_any_flipped_bit_is_noticed(place: int, bit: int) -> None:
    """By a CRC32C, of a chunk or of the places."""
    values = np.arange(9 * 32, dtype=np.uint16).reshape(9, 32)
    data = bytearray(shard_bytes(values, CHUNK, SHARD))
    data[place % len(data)] ^= 1 << bit
    with pytest.raises(ValueError, match="CRC32C of"):
        read_all(bytes(data), values)


def test_a_chunk_of_another_size_is_refused() -> None:
    """Before it is decoded; as is a shard that is cut short."""
    data = shard_bytes(np.zeros((4, 8), np.uint8), CHUNK, SHARD)
    start, length = chunk_places(data[-tail_length(3) :], 3)[0].tolist()
    with pytest.raises(ValueError, match="a chunk is 32 bytes, not 16"):
        read_chunk(data[start : start + length], np.empty((4, 4), np.uint8))
    with pytest.raises(ValueError, match="cut short"):
        chunk_places(data[-10:], 3)
    with pytest.raises(ValueError, match="CRC32C of a chunk"):
        read_chunk(b"", np.empty(1, np.uint8))
