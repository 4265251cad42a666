"""One writer per store: who holds the lock is said, and a dead one is in nobody's way."""

import errno
import fcntl
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import fsspec
import pytest

from nvg.format.base import StoreError
from nvg.store.lock import one_at_a_time, writer_lock
from pipeline.tokenize.dataset import PassMode, tokenize_dataset
from pipeline.tokenize.engine import Engine
from tests.makers import files_below, tiny_recipe, write_image_folder
from tests.nvg.tokenizer.makers import write_autoencoder

ROOT = Path(__file__).resolve().parents[3]
HOLD = """
import sys
from nvg.store.lock import writer_lock
with writer_lock(sys.argv[1]):
    print("held", flush=True)
    sys.stdin.read()
"""


@contextmanager
def another_writer(path: str) -> Iterator[subprocess.Popen[str]]:
    """A process that holds the lock until the end of the block, or until it is killed."""
    command, pipe = [sys.executable, "-c", HOLD, path], subprocess.PIPE
    with subprocess.Popen(command, cwd=ROOT, stdin=pipe, stdout=pipe, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        yield process


@pytest.fixture
def memory() -> str:
    """An object store's URL without anything at it."""
    fs = fsspec.filesystem("memory")
    for name in fs.find("/lock"):
        fs.rm_file(name)
    return "memory://lock/tokens.vgs"


def test_a_second_writer_is_told_who_the_first_is(tmp_path: Path) -> None:
    """Another process, and another call in this one, are refused in one line; then it is free."""
    path = str(tmp_path / "tokens.vgs")
    with another_writer(path) as first:
        with pytest.raises(StoreError, match=rf"tokens\.vgs .*process {first.pid} on ") as caught:
            writer_lock(path).__enter__()
        assert len(str(caught.value).splitlines()) == 1
    with writer_lock(path), pytest.raises(StoreError, match=f"process {os.getpid()} "):
        writer_lock(path, break_lock=True).__enter__()
    assert list(tmp_path.iterdir()) == []


def test_a_killed_writer_leaves_no_lock(tmp_path: Path) -> None:
    """kill -9 frees it, though its file is still there; no clock has a say in that."""
    path = str(tmp_path / "tokens.vgs")
    with another_writer(path) as first:
        first.kill()
    (lock,) = tmp_path.iterdir()
    for moment in (0, time.time() + 1e9):
        os.utime(lock, (moment, moment))
        with writer_lock(path):
            pass
        lock.touch()


def test_an_error_frees_the_lock(tmp_path: Path, memory: str) -> None:
    """Whatever ends the writing."""
    for path in (str(tmp_path / "tokens.vgs"), memory):
        with pytest.raises(KeyError), writer_lock(path):
            raise KeyError
        with writer_lock(path):
            pass
    assert list(tmp_path.iterdir()) == []


def test_a_lock_on_object_storage_stays_until_it_is_broken(memory: str) -> None:
    """A dead writer's lock names the flag; once broken, it is no longer the dead one's to free."""
    fs = fsspec.filesystem("memory")
    dead = writer_lock(memory)
    dead.__enter__()
    with pytest.raises(StoreError, match="--break-lock"):
        writer_lock(memory).__enter__()
    with writer_lock(memory, break_lock=True):
        dead.__exit__(None, None, None)
        assert fs.exists("/lock/tokens.vgs.lock")
    assert not fs.exists("/lock/tokens.vgs.lock")


def test_a_damaged_lock_still_locks(memory: str) -> None:
    """A lock that cannot be read is somebody's."""
    fsspec.filesystem("memory").pipe_file("/lock/tokens.vgs.lock", b"[1")
    with pytest.raises(StoreError, match="another process"):
        writer_lock(memory).__enter__()


def test_only_one_pass_writes_a_store(tmp_path: Path) -> None:
    """A second `tokenize` is refused before it touches anything, with --resume too."""
    write_image_folder(tmp_path / "images")
    write_autoencoder(tmp_path / "run")
    recipe, out = tiny_recipe(tmp_path / "images"), str(tmp_path / "tokens.vgs")
    with writer_lock(out):
        for mode in (PassMode.NEW, PassMode.RESUME):
            with pytest.raises(StoreError, match="is being written by"):
                tokenize_dataset(recipe, tmp_path / "run", out, Engine.INLINE, mode)
        assert not Path(out).exists()
    tokenize_dataset(recipe, tmp_path / "run", out, Engine.INLINE)
    before = files_below(out)
    with writer_lock(out), pytest.raises(StoreError, match="is being written by"):
        tokenize_dataset(recipe, tmp_path / "run", out, Engine.INLINE, PassMode.RESUME)
    assert files_below(out) == before


def test_a_disk_without_locks_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A filesystem that offers no locks is refused in one line, instead of taken for a writer."""

    def flock(*_: object) -> None:
        raise OSError(errno.ENOSYS, "Function not implemented")

    monkeypatch.setattr(fcntl, "flock", flock)
    with pytest.raises(StoreError, match=r"cannot lock .*\.lock: .* has no file locks .*--out"):
        writer_lock(str(tmp_path / "tokens.vgs")).__enter__()


def test_what_killed_ones_left_beside_goes(tmp_path: Path) -> None:
    """Files and folders with names of ours, while nobody else can be making the same."""
    out, mark = tmp_path / "a [1]", "0123456789abcdef" * 2
    (tmp_path / f"a [1].{mark}.tmp").mkdir()
    (tmp_path / f"a [1].{mark}.tmp" / "weights").write_bytes(b"x")
    (tmp_path / f"a [1].{mark[::-1]}.tmp").write_bytes(b"x")
    others = {f"a [1].{mark}", f"a 1.{mark}.tmp", "a [1].mine.tmp", f"b.{mark}.tmp"}
    for name in others:
        (tmp_path / name).write_bytes(b"mine")
    busy = pytest.raises(StoreError, match="is being written by")
    with one_at_a_time(out), busy, one_at_a_time(out):
        pass
    assert {path.name for path in tmp_path.iterdir()} == others
