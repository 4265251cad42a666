"""Fetched chunks on the disk: shared, bounded, and never needed."""

import logging
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

import pytest

from nvg.errors import InputError
from nvg.loader.chunk_cache import ChunkCache, Files, wanted_bytes
from nvg.store import Store
from tests.nvg.store.makers import make_store


class Source:
    """Files of a size, and how often each was fetched."""

    def __init__(self, size: int = 10) -> None:
        self.size, self.fetched = size, list[str]()

    def __call__(self, names: Sequence[str]) -> Files:
        self.fetched += names
        return {name: name.encode().ljust(self.size, b".") for name in names}


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Of the cache."""
    monkeypatch.setenv("NVG_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def size_of(folder: Path) -> int:
    """Of all files in it."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def test_one_of_several_fetches(store: Store) -> None:
    """All who come at once get it; each by a cache of its own, as processes have."""
    source, start = Source(), Barrier(8)

    def ask(_: int) -> Files:
        cache = ChunkCache(store)
        start.wait()
        return cache.files(3, ["a", "b"], source)

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(ask, range(8)))
    assert source.fetched == ["a", "b"]
    assert answers == [{"a": b"a.........", "b": b"b........."}] * 8


def test_only_what_is_missing_is_fetched(store: Store) -> None:
    """And after a drop all of the chunk, but no other one."""
    cache, source = ChunkCache(store), Source()
    cache.files(1, ["a"], source)
    cache.files(1, ["a", "b"], source)
    cache.files(12, ["a"], source)
    assert source.fetched == ["a", "b", "a"]
    assert cache.drop(1)
    assert not cache.drop(1)
    cache.files(12, ["a"], source)
    assert source.fetched == ["a", "b", "a"]


def test_a_store_that_changed_is_another(tmp_path: Path) -> None:
    """An extended one at the same place, for example."""
    one = ChunkCache(make_store(tmp_path / "a.vgs", 4))
    same = ChunkCache(make_store(tmp_path / "b.vgs", 4))
    (tmp_path / "a.vgs").rename(tmp_path / "old.vgs")
    other = ChunkCache(make_store(tmp_path / "a.vgs", 8))
    assert len({one.folder, same.folder, other.folder}) == 3


@pytest.mark.thorough
def test_the_bound_holds(store: Store, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """At all times; what fits is kept, and another store goes before it."""
    monkeypatch.setenv("NVG_CACHE_GB", "1e-4")
    other = folder / "chunks" / "another" / "7-content"
    other.parent.mkdir(parents=True)
    other.write_bytes(b"." * 50_000)
    cache, source = ChunkCache(store), Source(1000)
    for chunk in range(200):
        cache.files(chunk, ["a"], source)
        assert size_of(folder) <= 100_000
        assert other.exists() or chunk > 30
    assert not other.exists()
    assert size_of(folder) > 80_000
    last = len(source.fetched)
    for chunk in range(200):
        cache.files(chunk, ["a"], source)
    assert 0 < len(source.fetched) - last < 200


def test_a_file_that_would_take_all_is_not_kept(
    store: Store, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is handed on."""
    monkeypatch.setenv("NVG_CACHE_GB", "1e-4")
    assert len(ChunkCache(store).files(0, ["a"], Source(50_000))["a"] or b"") == 50_000
    assert size_of(folder) == 0


def test_by_default_half_of_the_disk_is_left(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is cached already counts as free."""
    cache = ChunkCache(store)
    cache.files(0, ["a"], Source(600))
    monkeypatch.setattr("shutil.disk_usage", lambda _: type("Usage", (), {"free": 1000}))
    again = ChunkCache(store)
    again.files(1, ["a"], Source(40))
    assert again.most == 800


def test_a_folder_that_cannot_be_written_to_is_said_once(
    store: Store, folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """And everything is fetched."""
    folder.write_text("in the way")
    cache, source = ChunkCache(store), Source()
    with caplog.at_level(logging.WARNING, "nvg"):
        for _ in range(2):
            assert cache.files(0, ["a"], source) == {"a": b"a........."}
    assert len(source.fetched) == 2
    (record,) = caplog.records
    assert "cannot be written to" in record.message
    assert "set NVG_CACHE to another folder" in record.message


@pytest.mark.parametrize("text", ["x", "-1", "nan", "inf"])
def test_a_bound_that_is_none_is_refused(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    """In one line that names the variable."""
    monkeypatch.setenv("NVG_CACHE_GB", text)
    with pytest.raises(InputError, match="NVG_CACHE_GB must be a number of gigabytes, 0 to keep"):
        wanted_bytes()
    monkeypatch.setenv("NVG_CACHE_GB", "1.5")
    assert wanted_bytes() == 1_500_000_000
