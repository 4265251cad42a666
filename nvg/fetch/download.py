"""One file from a URL into its place: gone on with where it broke off, checked, then renamed."""

import time
from pathlib import Path
from typing import Any

from nvg.errors import WorkError
from nvg.fetch.listing import Entry, file_digest
from nvg.fetch.remote import Remote, UnreachableError, naming

PIECE = 4 << 20  # bytes read at once
ATTEMPTS = 3
PAUSE = 1.0  # seconds before the next attempt


class ChecksumError(WorkError):
    """A file that is not the one that its list names."""


def download(remote: Remote, path: str, entry: Entry, target: Path, bar: Any) -> None:
    """Fetch `path` of the remote folder ("" for the file itself) to `target`.

    `target.part` grows beside it, and is what a later call goes on with. ChecksumError where
    the content is not that of the entry, UnreachableError where the storage fails several times.
    """
    part = target.with_name(f"{target.name}.part")
    part.parent.mkdir(parents=True, exist_ok=True)
    if not entry.is_fixed or (part.exists() and part.stat().st_size > (entry.bytes or 0)):
        part.unlink(missing_ok=True)
    began = part.stat().st_size if part.exists() else 0
    bar.update(began)
    _all_of(remote, path, entry, part, bar)
    fault = _fault(part, entry)
    if fault and began:  # what was there may have been damaged
        bar.update(-part.stat().st_size)
        part.unlink()
        _all_of(remote, path, entry, part, bar)
        fault = _fault(part, entry)
    if fault:
        part.unlink()
        raise ChecksumError(
            f"{remote.url}{'/' * bool(path)}{path} {fault}: it was damaged on its way, or is not "
            "what its list of files says; fetch again, or upload it again"
        )
    part.replace(target)


def _all_of(remote: Remote, path: str, entry: Entry, part: Path, bar: Any) -> None:
    """The rest of a file, in several attempts."""
    for attempt in range(ATTEMPTS):
        try:
            with naming(f"{remote.url}{'/' * bool(path)}{path}"):
                _rest(remote, path, entry, part, bar)
            return
        except UnreachableError as error:
            if attempt == ATTEMPTS - 1:
                raise WorkError(f"{error}; what came is kept: run the command again") from None
            time.sleep(PAUSE)


def _rest(remote: Remote, path: str, entry: Entry, part: Path, bar: Any) -> None:
    """What is missing of a file, from the place it broke off at where the storage can do that."""
    offset = part.stat().st_size if part.exists() and entry.is_fixed else 0
    if entry.bytes is not None and offset == entry.bytes:
        part.touch()  # an empty file
        return
    try:
        _copy(remote, path, offset, part, bar)
    except ValueError:  # only whole files
        if not offset:
            raise
        bar.update(-part.stat().st_size)
        _copy(remote, path, 0, part, bar)
    found = part.stat().st_size
    if entry.bytes is not None and found < entry.bytes:
        raise ConnectionError(f"it broke off after {found:,} of {entry.bytes:,} bytes")


def _copy(remote: Remote, path: str, offset: int, part: Path, bar: Any) -> None:
    with remote.open(path, offset) as source, part.open("ab" if offset else "wb") as file:
        while piece := source.read(PIECE):
            try:
                file.write(piece)
            except OSError as error:
                raise WorkError(
                    f"{part.parent} cannot be written to: {error.strerror or error}; see to the "
                    "disk, or set NVG_CACHE to another folder"
                ) from error
            bar.update(len(piece))


def _fault(part: Path, entry: Entry) -> str:
    """Why a complete download cannot be the file; "" else."""
    found = part.stat().st_size
    if entry.bytes is not None and found != entry.bytes:
        return f"has {found:,} bytes, not {entry.bytes:,}"
    if entry.sha256 and file_digest(part) != entry.sha256:
        return "does not match its checksum"
    return ""
