"""One writer per store: who holds the lock is said, and a dead one is in nobody's way."""

import errno
import fcntl
import multiprocessing
import os
import signal
import time
from multiprocessing.synchronize import Event
from pathlib import Path

import fsspec
import pytest

from nvg.store.format import StoreError
from nvg.store.lock import writer_lock
from pipeline.tokenize.dataset import PassMode, tokenize_dataset
from pipeline.tokenize.engine import Engine
from tests.makers import files_below, tiny_recipe, write_image_folder
from tests.nvg.tokenizer.makers import write_autoencoder

SPAWN = multiprocessing.get_context("spawn")


def hold(path: str, ready: Event, done: Event) -> None:
    """A process that holds the lock until it is told, or killed."""
    with writer_lock(path):
        ready.set()
        done.wait()


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
    ready, done = SPAWN.Event(), SPAWN.Event()
    first = SPAWN.Process(target=hold, args=(path, ready, done))
    first.start()
    assert ready.wait(60)
    with pytest.raises(StoreError, match=rf"tokens\.vgs .*process {first.pid} on ") as caught:
        writer_lock(path).__enter__()
    assert len(str(caught.value).splitlines()) == 1
    done.set()
    first.join(60)
    with writer_lock(path), pytest.raises(StoreError, match=f"process {os.getpid()} "):
        writer_lock(path, break_lock=True).__enter__()
    assert list(tmp_path.iterdir()) == []


def test_a_killed_writer_leaves_no_lock(tmp_path: Path) -> None:
    """kill -9 frees it, though its file is still there; no clock has a say in that."""
    path = str(tmp_path / "tokens.vgs")
    ready, done = SPAWN.Event(), SPAWN.Event()
    first = SPAWN.Process(target=hold, args=(path, ready, done))
    first.start()
    assert ready.wait(60)
    assert first.pid
    os.kill(first.pid, signal.SIGKILL)
    first.join(60)
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
    with pytest.raises(StoreError, match=r"cannot lock .*\.lock: Function not impl.*--out"):
        writer_lock(str(tmp_path / "tokens.vgs")).__enter__()
