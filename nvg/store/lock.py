"""One writer per store or run: a lock file beside it, `NAME.vgs.lock`, that names the writer.

On a disk the operating system holds the lock and frees it when the process ends, however it dies.
Object storage cannot tell a dead writer from a slow one: its lock stays until someone breaks it.
"""

import errno
import glob
import os
import re
import shutil
import socket
import sys
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from nvg.errors import FULL
from nvg.files import is_local, is_there, json_bytes, parse_json, storage
from nvg.format.base import StoreError

NO_LOCKS = (errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOTSUP, errno.ENOLCK)
OURS = re.compile(r"\.[0-9a-f]{32}\.tmp")  # how the names end that `replacing` gives
RETRY_SECONDS = 0.1  # for a lock file that its holder is just removing


@contextmanager
def writer_lock(
    path: str, break_lock: bool = False, name: str = "", seconds: float = RETRY_SECONDS
) -> Iterator[None]:
    """Hold the lock of the store at `path` (or URL). StoreError while another process holds it.

    `break_lock` takes over a lock on object storage, whoever holds it. It changes nothing on a
    disk, where a lock never outlives its process. A `name` locks a part of what is at `path`;
    `seconds` is how long to wait for a holder on a disk.
    """
    fs, root = storage(path.rstrip("/"))
    root = os.path.realpath(root) if is_local(fs) else root  # a link to a store is that store
    root += f".{name}" if name else ""
    if is_local(fs) and sys.platform != "win32":  # where an open file cannot be removed
        with _disk_lock(Path(f"{root}.lock"), path, seconds):
            yield
    else:
        with _object_lock(fs, f"{root}.lock", path, break_lock):
            yield


@contextmanager
def one_at_a_time(out: Path) -> Iterator[None]:
    """Hold the lock of a file or folder that `replacing` makes, without what killed ones left."""
    with writer_lock(str(out)):
        for left in out.absolute().parent.glob(f"{glob.escape(out.name)}.*.tmp"):
            if OURS.fullmatch(left.name.removeprefix(out.name)):
                shutil.rmtree(left) if left.is_dir() else left.unlink()
        yield


@contextmanager
def _disk_lock(file: Path, store: str, seconds: float) -> Iterator[None]:
    file.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(file, timeout=seconds, fallback_to_soft=False)
    try:
        lock.acquire()
    except Timeout:
        raise StoreError(f"{store} is being written by {_holder(file)}: wait for it") from None
    except NotImplementedError:
        raise _without_locks(file) from None
    except OSError as error:
        if error.errno in FULL:
            raise  # the pass names what to free
        if error.errno in NO_LOCKS:
            raise _without_locks(file) from error
        raise StoreError(f"cannot lock {file}: {error.strerror}; choose another --out") from error
    try:
        file.write_bytes(json_bytes(_identity()))
        yield
    finally:
        file.unlink(missing_ok=True)  # while it is locked: another process then locks a new file
        lock.release()


def _without_locks(file: Path) -> StoreError:
    return StoreError(
        f"cannot lock {file}: its file system has no file locks (flock), which keep two writers "
        "apart: mount it with them (Lustre: -o flock), or choose --out on another"
    )


def _holder(file: Path) -> str:
    try:
        return _who(file.read_bytes())
    except FileNotFoundError:  # released a moment ago
        return "another process"


@contextmanager
def _object_lock(fs: Any, name: str, store: str, break_lock: bool) -> Iterator[None]:
    """Best effort: each writer reads its lock back, to notice one that started with it."""
    if not break_lock and is_there(fs, name):
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
        if is_there(fs, name) and fs.cat_file(name) == own:
            fs.rm_file(name)


def _identity() -> dict[str, Any]:
    """Who writes. The time is for people: no decision depends on it."""
    since = datetime.now(UTC).isoformat(timespec="seconds")
    writer = {"host": socket.gethostname(), "pid": os.getpid(), "since": since}
    return {**writer, "id": uuid.uuid4().hex}


def _who(holder: bytes) -> str:
    try:
        writer = parse_json(holder)
        return f"process {writer['pid']} on {writer['host']} since {writer['since']}"
    except (ValueError, KeyError, TypeError):
        return "another process"
