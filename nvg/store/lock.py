"""One writer per store: a lock beside it, `NAME.vgs.lock`, that says who writes.

On a disk the lock is the operating system's and ends with its process, however that dies. On object
storage nothing can tell a dead writer from a slow one: its lock stays until someone breaks it.
"""

import json
import os
import socket
import sys
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import fsspec

from nvg.files import is_local, json_bytes
from nvg.store.format import StoreError


@contextmanager
def writer_lock(path: str, break_lock: bool = False) -> Iterator[None]:
    """Hold the lock of the store at `path` (or URL). StoreError while another process does.

    With `break_lock`, a lock on object storage is taken over whoever holds it; one on a disk needs
    no breaking, and is not.
    """
    fs, root = fsspec.core.url_to_fs(path.rstrip("/"))
    if is_local(fs) and sys.platform != "win32":  # which has no flock
        with _disk_lock(Path(f"{root}.lock"), path):
            yield
    else:
        with _object_lock(fs, f"{root}.lock", path, break_lock):
            yield


@contextmanager
def _disk_lock(file: Path, store: str) -> Iterator[None]:
    import fcntl

    file.parent.mkdir(parents=True, exist_ok=True)
    while True:
        handle = os.open(file, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            holder = os.pread(handle, 10_000, 0)
            os.close(handle)
            raise StoreError(f"{store} is being written by {_who(holder)}: wait for it") from None
        if _is_at(handle, file):
            break
        os.close(handle)  # the holder before removed it between our two calls: once more
    try:
        os.ftruncate(handle, 0)
        os.pwrite(handle, json_bytes(_identity()), 0)
        yield
    finally:
        file.unlink(missing_ok=True)
        os.close(handle)


def _is_at(handle: int, file: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(handle), file.stat())
    except FileNotFoundError:
        return False


@contextmanager
def _object_lock(fs: Any, name: str, store: str, break_lock: bool) -> Iterator[None]:
    """Best effort: two writers that start within one round trip see it by reading back."""
    if not break_lock and fs.exists(name):
        raise StoreError(
            f"{store} is being written by {_who(fs.cat_file(name))}: wait for it, or add "
            "--break-lock if that process is dead"
        )
    own = json_bytes(_identity())
    fs.pipe_file(name, own)
    fs.invalidate_cache()
    if fs.cat_file(name) != own:
        raise StoreError(f"{store} is being written by {_who(fs.cat_file(name))}: wait for it")
    try:
        yield
    finally:
        if fs.exists(name) and fs.cat_file(name) == own:
            fs.rm_file(name)


def _identity() -> dict[str, Any]:
    """Who writes; the time is for people, nothing is decided by it."""
    since = datetime.now(UTC).isoformat(timespec="seconds")
    facts = {"host": socket.gethostname(), "pid": os.getpid(), "since": since}
    return {**facts, "id": uuid.uuid4().hex}


def _who(holder: bytes) -> str:
    try:
        facts = json.loads(holder)
        return f"process {facts['pid']} on {facts['host']} since {facts['since']}"
    except (ValueError, KeyError, TypeError):
        return "another process"
