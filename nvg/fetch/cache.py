"""The cache of what was fetched: `$NVG_CACHE/fetched/NAME-KEY/VERSION/...`.

The key is of the URL, the version of its content, so files in it never change: a process that has
them open may go on while another fetches a newer version. Each file is renamed into its place when
it is complete. One process fetches at a time, others wait for it.
"""

import fnmatch
import hashlib
import logging
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from enum import StrEnum
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from nvg.errors import WorkError
from nvg.fetch.download import download
from nvg.fetch.listing import Entry, version_of
from nvg.fetch.remote import Remote, UnreachableError
from nvg.files import is_url, json_bytes, local_place, parse_json, write_atomic
from nvg.progress import progress

log = logging.getLogger("nvg")


class Use(StrEnum):
    """What is fetched from a URL for."""

    RUN = "run"
    """All of a run."""
    GENERATORS = "generators"
    TOKENIZER = "tokenizer"
    FILE = "file"
    """The file that the URL names, whatever its suffix."""


# Files of a run that a use does not need, by patterns of their names.
LEFT_OUT = {
    Use.GENERATORS: ("autoencoder/*", "*.png"),
    Use.TOKENIZER: (
        "content*.safetensors",
        "structure*.safetensors",
        "detokenizer.safetensors",
        "*.png",
    ),
}
FETCHED = "fetched"  # the folder of the copies in the cache
LATEST = "latest.json"  # beside the versions: the URL, and the files of the one fetched last


def cache_folder() -> Path:
    """Where this project keeps what it can get again: `NVG_CACHE`, or nvg/ in the user's cache."""
    if own := os.environ.get("NVG_CACHE"):
        return Path(own).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "nvg"


def fetched(place: str | Path, use: Use = Use.RUN) -> Path:
    """The local path of a run or of a weights file: the place itself, or a copy of what is there.

    Of a run what its use needs is fetched. InputError for what is not there, WorkError where the
    network fails.
    """
    if not is_url(place):
        return local_place(place)
    remote = Remote(str(place))
    home = cache_folder() / FETCHED / f"{_safe(remote.name)}-{_key(remote.url)}"
    is_single = use is Use.FILE or remote.is_weights_file
    leave_out = LEFT_OUT.get(use, ())
    try:
        entries = [remote.file_entry()] if is_single else remote.folder_entries()
    except UnreachableError as error:
        entries = _kept(home)
        if not entries or not _whole(home / version_of(entries), _wanted(entries, leave_out)):
            raise
        log.warning("%s; the copy in %s is used", error, home)
    folder, wanted = home / version_of(entries), _wanted(entries, leave_out)
    if not _whole(folder, wanted):
        with _alone(home, remote.url):
            _fetch(remote, entries, wanted, folder, is_single)
    return folder / remote.name if is_single else folder


def named(path: str | Path) -> str:
    """What reports and requests call a run or a file: the URL of a copy of `fetched`, else itself.

    Another machine has the copy elsewhere, and a new version makes it another folder.
    """
    try:
        home, _, *below = Path(path).relative_to(cache_folder() / FETCHED).parts
        url: str = parse_json((cache_folder() / FETCHED / home / LATEST).read_bytes())["url"]
    except (ValueError, OSError, KeyError, TypeError):
        return str(path)
    is_file = below == [Remote(url).name]
    return url if is_file else "/".join([url, *below])


def _fetch(
    remote: Remote, entries: list[Entry], wanted: list[Entry], folder: Path, is_single: bool
) -> None:
    """Fetch the files that are missing."""
    missing = [each for each in wanted if not _is_there(folder, each)]
    total = sum(each.bytes or 0 for each in missing) or None
    options: dict[str, Any] = {
        "unit": "B",
        "unit_scale": True,
        "unit_divisor": 1024,
        "disable": False,
    }
    if missing:
        log.info("fetching %s into %s", remote.url, folder)
    with progress(total=total, desc=f"fetch {remote.name}", **options) as bar:
        for each in missing:
            path = "" if is_single else each.path
            download(remote, path, each, folder / each.path, bar)
    kept = {"url": remote.url, "files": [asdict(each) for each in entries]}
    write_atomic(folder.parent / LATEST, json_bytes(kept))


@contextmanager
def _alone(home: Path, url: str) -> Iterator[None]:
    """Fetch alone: a second process waits, and then finds the files."""
    try:
        home.mkdir(parents=True, exist_ok=True)
        lock = FileLock(home / "lock", fallback_to_soft=False)
        try:
            lock.acquire(timeout=0.1)
        except Timeout:
            log.info("another process fetches %s: waiting for it", url)
            lock.acquire()
    except (OSError, NotImplementedError) as error:
        reason = getattr(error, "strerror", None) or error
        raise WorkError(
            f"{home} cannot be written to or locked: {reason}; set NVG_CACHE to another folder"
        ) from error
    try:
        yield
    finally:
        lock.release()


def _wanted(entries: list[Entry], leave_out: tuple[str, ...]) -> list[Entry]:
    return [
        each
        for each in entries
        if not any(fnmatch.fnmatchcase(each.path, pattern) for pattern in leave_out)
    ]


def _is_there(folder: Path, entry: Entry) -> bool:
    path = folder / entry.path
    return path.is_file() and entry.bytes in (None, path.stat().st_size)


def _whole(folder: Path, wanted: list[Entry]) -> bool:
    return all(_is_there(folder, each) for each in wanted)


def _kept(home: Path) -> list[Entry]:
    """The files of what was fetched last; none where that is not known."""
    try:
        return [Entry(**each) for each in parse_json((home / LATEST).read_bytes())["files"]]
    except (OSError, ValueError, LookupError, TypeError):
        return []


def _key(url: str) -> str:
    return hashlib.sha256(url.encode()).hexdigest()[:12]


def _safe(name: str) -> str:
    return re.sub(r"[^\w.-]+", "_", name)[:48] or "run"
