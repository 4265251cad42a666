"""What was fetched of a store's chunks, on this machine's disk: `$NVG_CACHE/chunks/STORE/FILE`.

The processes of a machine share it: one fetches a chunk, others that want it wait for it, and a
later epoch finds it here. At most `NVG_CACHE_GB` gigabytes are kept, by default half of what the
disk has free. Where that is full, files of other stores go first, then any of this one: an epoch
comes back to all chunks alike. Whoever reads compares what is here with the store's checksums.
"""

import hashlib
import logging
import os
import random
import shutil
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from filelock import FileLock

from nvg.errors import InputError
from nvg.fetch.cache import cache_folder
from nvg.store.store_files import StoreFiles

log = logging.getLogger("nvg")

Files = dict[str, bytes | None]
"""Bytes by name; None for a file that there is not."""
Fetch = Callable[[Sequence[str]], Files]

GB_NAME = "NVG_CACHE_GB"
LOCKS = 256  # chunks of a store that may be fetched by different processes at once
POLL = 0.02  # seconds between two looks whether another process is done
RECENT = 60.0  # seconds in which other processes of the machine may still want a file
PARTS = 16  # of the bound: one may come between two looks at what there is


class ChunkCache:
    """The cached files of one store as it is now; one that has changed since is another."""

    def __init__(self, store: StoreFiles) -> None:
        self.home = cache_folder() / "chunks"
        state = f"{store.path}\n".encode() + store.manifest.to_bytes()
        self.folder = self.home / hashlib.sha256(state).hexdigest()[:16]
        self.most = wanted_bytes()
        """Bound in bytes; None: what fits on the disk."""
        self.new = -1  # bytes written since the last look; -1 before the first
        self.is_usable = self.most != 0

    def files(self, chunk: int, names: Sequence[str], fetch: Fetch) -> Files:
        """Some files of a chunk, fetched if they are not here."""
        found = self._kept(chunk, names)
        if len(found) == len(names):
            return found
        lock = self._locked(chunk)
        if lock is None:
            return fetch(names)
        try:
            found = self._kept(chunk, names)
            new = fetch([name for name in names if name not in found])
            self._keep(chunk, new)
        finally:
            lock.release()
        return found | new

    def drop(self, chunk: int) -> bool:
        """Forget a chunk; whether anything of it was here."""
        kept = list(self.folder.glob(f"{chunk}-*"))
        for path in kept:
            path.unlink(missing_ok=True)
        return bool(kept)

    def _locked(self, chunk: int) -> FileLock | None:
        """A lock that this thread alone has, to be released; None where nothing can be kept."""
        if not self.is_usable:
            return None
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            lock = FileLock(self.folder / f"lock-{chunk % LOCKS}", fallback_to_soft=False)
            lock.acquire(poll_interval=POLL)
        except (OSError, NotImplementedError) as error:
            self._give_up(error)
            return None
        return lock

    def _path(self, chunk: int, name: str) -> Path:
        return self.folder / f"{chunk}-{name.replace('/', '-')}"

    def _kept(self, chunk: int, names: Sequence[str]) -> Files:
        found: Files = {}
        for name in names:
            try:
                found[name] = self._path(chunk, name).read_bytes() or None  # empty: there is none
            except OSError:
                continue
        return found

    def _keep(self, chunk: int, files: Files) -> None:
        size = sum(len(data) for data in files.values() if data)
        try:
            if not self._has_room(size):
                return
            for name, data in files.items():
                path = self._path(chunk, name)
                part = path.with_name(f".{path.name}-{os.getpid()}")
                part.write_bytes(data or b"")
                part.replace(path)
        except OSError as error:
            self._give_up(error)

    def _has_room(self, size: int) -> bool:
        """Whether so many bytes may be added; makes room where there is none."""
        ranks = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
        if self.new < 0 or self.most is None or self.new + size > self.most // PARTS // ranks:
            self._make_room()
        assert self.most is not None
        self.new += size
        return size <= self.most // PARTS

    def _make_room(self) -> None:
        """Look at all that is cached, and remove what is over the bound less two parts."""
        now = time.time()
        kept = []
        for path in self.home.glob("*/[0-9.]*-*"):
            try:
                facts = path.stat()
            except FileNotFoundError:
                continue
            is_own, is_recent = path.parent == self.folder, now - facts.st_mtime < RECENT
            kept.append(((is_own, is_recent, random.random()), facts.st_size, path))
        total = sum(size for _, size, _ in kept)
        if self.most is None:
            self.most = (shutil.disk_usage(self.home).free + total) // 2
        for _, size, path in sorted(kept):
            if total <= self.most - 2 * self.most // PARTS:
                break
            path.unlink(missing_ok=True)
            total -= size
        self.new = 0

    def _give_up(self, error: Exception) -> None:
        if self.is_usable:
            reason = getattr(error, "strerror", None) or error
            log.warning(
                "%s cannot be written to: %s; every process fetches its chunks itself, again each "
                "epoch: set NVG_CACHE to another folder",
                self.home,
                reason,
            )
        self.is_usable = False


def wanted_bytes() -> int | None:
    """`NVG_CACHE_GB` in bytes, None where it is not set; InputError for no such number."""
    text = os.environ.get(GB_NAME)
    if not text:
        return None
    try:
        found = float(text)
        if not 0 <= found < 1e9:
            raise ValueError
    except ValueError:
        raise InputError(
            f"{GB_NAME} must be a number of gigabytes, 0 to keep none, not {text}"
        ) from None
    return int(found * 1e9)
