"""Memory and open files that are used again: never by two at a time, and never the wrong ones."""

import os
import pickle
from pathlib import Path

import numpy as np
import pytest

from nvg.loader import scratch as module
from nvg.loader.scratch import OpenFiles, Scratch, Scratches
from nvg.store.store_files import WHOLE


def opened() -> int:
    """Files that this process has open."""
    return len(os.listdir("/proc/self/fd"))


def test_memory_of_a_place_is_used_again() -> None:
    """It grows, and another place has its own."""
    scratch = Scratch()
    first = scratch.array("a", (2, 3), np.dtype(np.uint16))
    assert first.shape == (2, 3)
    assert np.shares_memory(first, scratch.bytes("a", 12))
    assert not np.shares_memory(first, scratch.bytes("b", 12))
    assert not np.shares_memory(first, scratch.bytes("a", 13))
    assert np.shares_memory(scratch.bytes("a", 13), scratch.array("a", (2,), np.dtype(np.int32)))


def test_no_two_threads_have_one_scratch() -> None:
    """Who comes later takes one that is free again."""
    scratches = Scratches()
    with scratches.one() as first, scratches.one() as second:
        assert first is not second
        assert first.files is second.files
    with scratches.one() as again:
        assert again in (first, second)
    assert len(scratches.free) == 2


@pytest.mark.parametrize(
    ("span", "found"),
    [(WHOLE, b"0123456789"), ((2, 5), b"234"), ((7, 20), b"789"), ((12, 20), b""), ((5, 5), b"")],
)
def test_a_span_is_as_much_as_there_is(
    tmp_path: Path, span: tuple[int | None, int | None], found: bytes
) -> None:
    """Of a file that is cut short, less."""
    (tmp_path / "a").write_bytes(b"0123456789")
    data = Scratch().read(str(tmp_path / "a"), span, "a")
    assert data is not None
    assert data.tobytes() == found


def test_a_read_that_comes_in_parts_is_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Some file systems give less than was asked for."""
    (tmp_path / "a").write_bytes(bytes(range(100)))
    whole = os.preadv
    monkeypatch.setattr("os.preadv", lambda file, into, at: whole(file, [into[0][:7]], at))
    data = Scratch().read(str(tmp_path / "a"), (10, 90), "a")
    assert data is not None
    assert data.tobytes() == bytes(range(10, 90))


@pytest.mark.parametrize("span", [WHOLE, (0, 4)])
def test_what_is_no_file_is_told(tmp_path: Path, span: tuple[int | None, int | None]) -> None:
    """A lost one from a folder or a pipe, which might never end."""
    os.mkfifo(tmp_path / "pipe")
    assert Scratch().read(str(tmp_path / "none"), span, "a") is None
    for name, kind in (("pipe", "a pipe or a device"), (".", "a folder")):
        with pytest.raises(ValueError, match=kind):
            Scratch().read(str(tmp_path / name), span, "a")


def test_few_files_stay_open(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The others are closed, and all when nobody has them any more."""
    monkeypatch.setattr(module, "MOST_OPEN", 3)
    before, scratch = opened(), Scratch()
    for number in range(10):
        (tmp_path / str(number)).write_bytes(bytes([number]))
        scratch.read(str(tmp_path / str(number)), (0, 1), "a")
    assert opened() == before + 3
    del scratch
    assert opened() == before


def test_a_whole_file_is_read_as_it_is_now(tmp_path: Path) -> None:
    """It does not stay open; a shard does, and is read on as it was."""
    file, scratch, before = tmp_path / "a", Scratch(), opened()
    file.write_bytes(b"old")
    scratch.read(str(file), WHOLE, "a")
    assert opened() == before
    scratch.read(str(file), (0, 3), "a")
    (tmp_path / "b").write_bytes(b"new")
    (tmp_path / "b").replace(file)
    for span, found in ((WHOLE, b"new"), ((0, 3), b"old")):
        data = scratch.read(str(file), span, "a")
        assert data is not None
        assert data.tobytes() == found


def test_another_process_opens_its_own(tmp_path: Path) -> None:
    """Numbers of files mean nothing there."""
    files = OpenFiles()
    (tmp_path / "a").write_bytes(b"a")
    files.of(str(tmp_path / "a"))
    assert pickle.loads(pickle.dumps(files)).kept == {}
