"""Which files a run at a URL has: its own list, which `nvgctl pack` writes, or the storage's.

`nvg-files.json` in a folder: {"format": "nvg-files", "version": 1, "files": [{"path":
"config.toml", "bytes": 812, "sha256": "..."}, ...]}. Storage that cannot list a folder (https)
needs it; where it is there it is believed, and every file is checked against it.
"""

import hashlib
import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from nvg.errors import InputError, shown
from nvg.files import json_bytes, parse_json

FILES = "nvg-files.json"
FORMAT, VERSION = "nvg-files", 1
MOST_FILE = 1 << 50  # bytes of a file
SHA256 = re.compile("[0-9a-f]{64}")
MOST_BYTES = 1 << 20  # of a list: 5,000 files


@dataclass(frozen=True)
class Entry:
    """A file at a URL."""

    path: str
    """From the folder, with slashes."""
    bytes: int | None = None
    """None where the storage does not say."""
    sha256: str = ""
    """Of the content; "" where nobody has said it."""
    tag: str = ""
    """What the storage changes with the content, an ETag for example; "" where it has none."""

    @property
    def is_fixed(self) -> bool:
        """Whether another content would be noticed: only then may half a download go on."""
        return self.bytes is not None and bool(self.sha256 or self.tag)


def version_of(entries: Iterable[Entry]) -> str:
    """A short name of this state of a folder: other content, other name."""
    facts = sorted((e.path, e.bytes or 0, e.sha256 or e.tag) for e in entries)
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:16]


def file_digest(path: Path) -> str:
    """SHA-256 of a file, read in pieces."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def list_bytes(folder: Path) -> bytes:
    """The list of all files below a folder, but for the lists in it."""
    files = sorted(p for p in folder.rglob("*") if p.is_file() and p.name != FILES)
    listed = [
        {
            "path": path.relative_to(folder).as_posix(),
            "bytes": path.stat().st_size,
            "sha256": file_digest(path),
        }
        for path in files
    ]
    return json_bytes({"format": FORMAT, "version": VERSION, "files": listed})


def read_list(data: bytes, name: str) -> list[Entry]:
    """The files of a list; InputError, with the `name` of where it is, for one that is unusable.

    A path that leads out of its folder makes it that.
    """
    if len(data) > MOST_BYTES:
        raise InputError(f"{name} is too long for a list of files")
    try:
        table = parse_json(data)
        if not isinstance(table, dict) or table.get("format") != FORMAT:
            raise ValueError(f"its format is not {FORMAT}")
        version, files = table.get("version"), table.get("files")
        if type(version) is not int or not isinstance(files, list):
            raise ValueError("it has no version, or no files")
        if version > VERSION:
            raise InputError(f"{name} is of a later version of nvgctl: update this one")
        return [_entry(each) for each in files]
    except InputError:
        raise
    except ValueError as error:
        raise InputError(f"{name} is no list of files of `nvgctl pack`: {error}") from None


def _entry(table: Any) -> Entry:
    path, size, sha256 = (
        table.get(name) if isinstance(table, dict) else None for name in ("path", "bytes", "sha256")
    )
    if not isinstance(path, str) or not path.isprintable():
        raise ValueError(f"the path {shown(path)} is that of no file")
    parts = PurePosixPath(path).parts
    if not parts or path.startswith("/") or ".." in parts or "\\" in path or ":" in path:
        raise ValueError(f"the path {shown(path)} leads out of the folder")
    is_size = type(size) is int and 0 <= size < MOST_FILE
    if not is_size or not isinstance(sha256, str) or not SHA256.fullmatch(sha256):
        raise ValueError(f"the checksum or size of {shown(path)} is none")
    return Entry(path, size, sha256)
