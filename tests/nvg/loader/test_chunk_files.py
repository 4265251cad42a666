"""Chunks over the network: all files of one at once, and each fetched once."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from nvg.errors import InputError, WorkError
from nvg.format.base import StoreError
from nvg.loader import LoaderMode, SequenceLoader
from nvg.loader.chunk_files import ChunkFiles, is_far
from nvg.loader.scratch import Scratch
from nvg.store import open_store
from nvg.store.store_files import WHOLE
from tests.nvg.fetch.makers import FileServer, serving
from tests.nvg.store.makers import chunk_file, flip, make_plain_store, make_store


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FileServer]:
    """Serves a store of 12 rows in three chunks; the cache is a folder of the test."""
    monkeypatch.setenv("NVG_CACHE", str(tmp_path / "cache"))
    make_plain_store(tmp_path / "a.vgs", 12)
    with serving(tmp_path) as running:
        yield running


def streamed(server: FileServer) -> list[int]:
    """The rows of two epochs of a new loader."""
    loader = SequenceLoader(open_store(f"{server.url}/a.vgs"), 4, mode=LoaderMode.STREAM, window=2)
    batches = [batch for _ in range(2) for batch in loader]
    return [int(row) for batch in batches if batch.row is not None for row in batch.row]


def chunk_requests(server: FileServer) -> list[str]:
    """What was asked for of chunks."""
    return [asked for asked in server.asked if "/c/" in asked or "/commits/" in asked]


def test_each_file_is_fetched_once(server: FileServer) -> None:
    """Not again in a second epoch, nor by another loader."""
    assert sorted(streamed(server)) == sorted(2 * list(range(12)))
    asked = chunk_requests(server)
    assert len(asked) == len(set(asked)) == 3 * 4
    streamed(server)
    assert chunk_requests(server) == asked


def test_without_a_cache_each_epoch_fetches(
    server: FileServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Records of chunks once a loader, since they are compared once."""
    monkeypatch.setenv("NVG_CACHE_GB", "0")
    streamed(server)
    assert len(chunk_requests(server)) == 2 * 3 * 3 + 3
    assert not (tmp_path / "cache").exists()


def test_a_bound_that_is_none_is_refused_at_once(
    server: FileServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before a chunk is read, and not as damage of one."""
    monkeypatch.setenv("NVG_CACHE_GB", "much")
    with pytest.raises(InputError, match=r"^NVG_CACHE_GB must be a number of gigabytes"):
        SequenceLoader(open_store(f"{server.url}/a.vgs"), 4)


def test_a_chunk_of_zeros_has_no_file(server: FileServer, tmp_path: Path) -> None:
    """That is remembered too."""
    files = ChunkFiles(open_store(f"{server.url}/a.vgs"))
    for _ in range(2):
        assert files.read(0, {"content/c/9/0/0": WHOLE}, Scratch()) == {"content/c/9/0/0": None}
    assert len(chunk_requests(server)) == 1


def test_what_is_damaged_in_the_cache_is_fetched_anew(server: FileServer, tmp_path: Path) -> None:
    """Once; what is damaged on the server is said."""
    wanted = streamed(server)
    (kept,) = (tmp_path / "cache").glob("chunks/*/1-content*")
    flip(kept)
    assert streamed(server) == wanted
    kept.write_bytes(b"")
    assert streamed(server) == wanted
    flip(kept)
    flip(chunk_file(tmp_path / "a.vgs", "content", 1))
    with pytest.raises(StoreError, match="chunk 1 is damaged"):
        streamed(server)


def test_a_server_that_fails_is_no_damage(server: FileServer) -> None:
    """Nothing of its answer is kept."""
    server.status["/a.vgs/content/c/1/0/0"] = 503
    with pytest.raises(WorkError, match="cannot be read just now"):
        streamed(server)
    server.status.clear()
    assert len(streamed(server)) == 24


def test_a_disk_and_memory_are_not_far(tmp_path: Path, server: FileServer) -> None:
    """Only what a network lies between is cached."""
    places = [str(tmp_path / "a.vgs"), f"file://{tmp_path}/a.vgs", f"{server.url}/a.vgs"]
    places.append(make_store("memory://far/a.vgs", 4).path)
    found = [open_store(place) for place in places]
    assert [is_far(store) for store in found] == [False, False, True, False]
    assert [ChunkFiles(store).drop(0) for store in found] == [False] * 4


@pytest.mark.parametrize("knows_ranges", [True, False])
def test_spans_of_shards_are_fetched_once(
    server: FileServer, tmp_path: Path, knows_ranges: bool
) -> None:
    """A request a span, and one for the places of the chunks of a shard; of any server."""
    server.knows_ranges = knows_ranges
    shutil.rmtree(tmp_path / "a.vgs")
    make_store(tmp_path / "a.vgs", 12)
    assert sorted(streamed(server)) == sorted(2 * list(range(12)))
    spans = [each for each in of_arrays(server) if not each.endswith("bytes=-36")]
    assert len(spans) == 3 * 3
    streamed(server)
    assert [each for each in of_arrays(server) if each in spans] == spans
    assert set(of_arrays(server)) - set(spans) == {
        f"GET /a.vgs/{array}/c/{shard}{rest} bytes=-36"
        for array, rest in (("leaves", "/0/0"), ("content", "/0/0"), ("label", ""))
        for shard in range(2)
    }


def of_arrays(server: FileServer) -> list[str]:
    """What was asked for of arrays."""
    return [asked for asked in server.asked if "/c/" in asked]
