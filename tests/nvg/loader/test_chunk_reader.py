"""Stored chunks decoded without Zarr: the same values, and nothing that was not committed."""

import hashlib
from pathlib import Path
from typing import Any

import google_crc32c
import numpy as np
import pytest
import zarr
from zarr.codecs import BloscCodec, BytesCodec, Crc32cCodec

from nvg.errors import WorkError
from nvg.format.base import ARRAYS
from nvg.format.damage import DamageError
from nvg.loader.chunk_reader import ChunkReader
from nvg.loader.pace import Pace
from nvg.loader.scratch import Scratch
from nvg.store import Store, open_store
from tests.nvg.store.makers import (
    chunk_file,
    flip,
    flip_chunk,
    make_plain_store,
    make_store,
    random_codec,
)


def reader_of(store: Store) -> ChunkReader:
    """Of all arrays."""
    return ChunkReader(store, store.arrays, Pace(is_far=False))


@pytest.mark.parametrize("grid", [4, 32])
def test_it_reads_what_zarr_reads(tmp_path: Path, grid: int) -> None:
    """Every dtype and array, two views, a last chunk that is not full."""
    store = make_plain_store(tmp_path / "a.vgs", 10, 2, grid=grid, codec=random_codec())
    reader = reader_of(store)
    for chunk in range(store.chunks):
        found = reader.empty(Scratch())
        assert reader.read(chunk, found, Scratch())
        rows = store.chunk_slice(chunk)
        for name in store.arrays:
            wanted = store.group[name][rows]
            assert found[name].dtype == wanted.dtype
            assert np.array_equal(found[name][: len(wanted)], wanted)


def test_the_other_order_of_bytes_is_read(tmp_path: Path) -> None:
    """Zarr's description says which one it is; the checksums are of values, not of files."""
    store = make_plain_store(tmp_path / "a.vgs", 4)
    values = store.content[:]
    made: Any = zarr.create_array(
        str(tmp_path / "a.vgs" / "content"),
        shape=values.shape,
        chunks=values.shape,
        dtype=values.dtype,
        fill_value=0,
        serializer=BytesCodec(endian="big"),
        compressors=[BloscCodec(cname="zstd"), Crc32cCodec()],
        overwrite=True,
    )
    made[:] = values
    reader = reader_of(open_store(store.path))
    found = reader.empty(Scratch())
    assert reader.read(0, found, Scratch())
    assert np.array_equal(found["content"], values)


def test_a_chunk_is_compared_with_its_sha256_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And again when its file has become another one, sound in itself."""
    store = make_plain_store(tmp_path / "a.vgs", 8)
    reader, counted = reader_of(store), list[int]()

    def counting(values: Any) -> str:
        counted.append(len(values))
        return hashlib.sha256(np.ascontiguousarray(values).data).hexdigest()

    monkeypatch.setattr("nvg.loader.chunk_reader.digest", counting)
    found = reader.empty(Scratch())
    assert reader.read(0, found, Scratch())
    assert not reader.read(0, found, Scratch())
    assert counted == [4] * len(ARRAYS)
    files = [chunk_file(tmp_path / "a.vgs", "content", chunk) for chunk in (0, 1)]
    files[0].write_bytes(files[1].read_bytes())
    with pytest.raises(DamageError, match="content does not match its checksum"):
        reader.read(0, found, Scratch())
    files[0].unlink()
    with pytest.raises(DamageError, match="content does not match its checksum"):
        reader.read(0, found, Scratch())


@pytest.mark.parametrize("place", [0, 5, 13, 40, -1])
def test_a_flipped_bit_is_found_at_any_reading(tmp_path: Path, place: int) -> None:
    """Also after the SHA-256 was compared: the CRC32C is compared each time."""
    store = make_plain_store(tmp_path / "a.vgs", 4)
    reader = reader_of(store)
    found = reader.empty(Scratch())
    reader.read(0, found, Scratch())
    file = chunk_file(tmp_path / "a.vgs", "content", 0)
    data = bytearray(file.read_bytes())
    data[place] ^= 4
    file.write_bytes(data)
    with pytest.raises(DamageError, match="content does not match its CRC32C"):
        reader.read(0, found, Scratch())


@pytest.mark.parametrize(("place", "value"), [(4, 1), (4, 2**31), (12, 2**31)])
def test_a_header_that_lies_is_not_believed(tmp_path: Path, place: int, value: int) -> None:
    """Sizes of Blosc's header that are not those of the array or the file, with a right CRC32C."""
    store = make_plain_store(tmp_path / "a.vgs", 4)
    file = chunk_file(tmp_path / "a.vgs", "content", 0)
    data = bytearray(file.read_bytes()[:-4])
    data[place : place + 4] = value.to_bytes(4, "little")
    file.write_bytes(data + google_crc32c.value(bytes(data)).to_bytes(4, "little"))
    reader = reader_of(store)
    with pytest.raises(DamageError, match=r"content: a chunk is \d+ bytes"):
        reader.read(0, reader.empty(Scratch()), Scratch())


def test_a_disk_that_fails_is_no_damage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is said to be tried again."""
    store = make_plain_store(tmp_path / "a.vgs", 4)
    reader = reader_of(store)

    def fail(*_: object) -> bytes:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr("os.preadv", fail)
    with pytest.raises(WorkError, match="cannot be read just now"):
        reader.read(0, reader.empty(Scratch()), Scratch())


def test_a_lost_record_is_damage(tmp_path: Path) -> None:
    """Without it nothing says what the chunk is."""
    store = make_plain_store(tmp_path / "a.vgs", 4)
    (tmp_path / "a.vgs" / "commits" / "00000.json").unlink()
    reader = reader_of(store)
    with pytest.raises(DamageError, match=r"commits/00000\.json is missing"):
        reader.read(0, reader.empty(Scratch()), Scratch())


def test_flip_of_every_array_is_named(tmp_path: Path) -> None:
    """By the array."""
    for name in ARRAYS:
        store = make_plain_store(tmp_path / f"{name}.vgs", 4)
        flip(chunk_file(tmp_path / f"{name}.vgs", name, 0))
        reader = reader_of(store)
        with pytest.raises(DamageError, match=name):
            reader.read(0, reader.empty(Scratch()), Scratch())


def test_chunks_of_shards_are_read_alike(tmp_path: Path) -> None:
    """Spans of a file, compared with the SHA-256 that the record of the shard has, once."""
    plain = make_plain_store(tmp_path / "plain.vgs", 10, 2, codec=random_codec())
    store = open_store(make_store(tmp_path / "a.vgs", 10, 2, codec=random_codec()).path)
    names = store.arrays
    reader, other = (ChunkReader(each, names, Pace(False)) for each in (store, plain))
    for again in (False, True):
        for chunk in range(store.chunks):
            found, wanted = reader.empty(Scratch()), other.empty(Scratch())
            assert reader.read(chunk, found, Scratch()) is not again
            other.read(chunk, wanted, Scratch())
            rows = store.chunk_slice(chunk)
            for name in names:
                size = rows.stop - rows.start
                np.testing.assert_array_equal(found[name][:size], wanted[name][:size])
    flip_chunk(tmp_path / "a.vgs", "content", 1)
    reader.read(0, reader.empty(Scratch()), Scratch())
    with pytest.raises(DamageError, match="content does not match its CRC32C"):
        reader.read(1, reader.empty(Scratch()), Scratch())
