"""Atomic file writes, JSON from elsewhere, and what a file is that was taken for weights."""

import codecs
import errno
import json
import math
import os
import re
import shutil
import stat
import uuid
import zipfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from nvg.errors import InputError

NAMELESS = (errno.ELOOP, errno.ENOTDIR, errno.ENAMETOOLONG)
"""A link to itself, a name below a file, a name too long."""
START = 256  # bytes that tell what a file is
IN_FLIGHT = 64  # requests of a process to an S3 server
MANIFEST, STORE_WORD = "manifest.json", b'"nvg-store'  # of a store, and what its format begins with
MOST_SMALL = 1 << 26  # bytes of a text or list that is read whole
DEEPEST = 64  # tables and lists in one another, in JSON from elsewhere
NO_JSON = "it is not JSON"
HALVES = re.compile("[\ud800-\udfff]")  # of characters
HEADER_LIMIT = 100_000_000  # bytes of the header of a safetensors file; the format's own limit


def require_file_place(path: Path) -> None:
    """InputError when `path` cannot become a file; call it before long work."""
    if path.is_dir():
        raise InputError(f"{path} is a directory: name a file to write")
    if re.match(r"[a-z][a-z0-9]+:/", str(path)):  # Path takes one of the two slashes
        raise InputError(f"{path} is a URL: name a file of this machine")
    require_writable(path)


def require_writable(path: Path) -> None:
    """InputError when nothing can be written at `path`: its folder is a file, or is not ours."""
    there = next(each for each in path.absolute().parents if each.exists())
    if not there.is_dir():
        raise InputError(f"{there} is a file: {path} cannot be written below it")
    if not os.access(there, os.W_OK):
        raise InputError(f"{there} may not be written to: name another place than {path}")
    require_outside_stores(path)


def require_outside_stores(path: Path) -> None:
    """InputError for a place inside a store: what is written there is none of its files."""
    for folder in Path(os.path.realpath(path)).parents:
        if _is_store(folder):
            raise InputError(f"{path} lies inside the store {folder}: name a place outside it")


def _is_store(folder: Path) -> bool:
    """Whether a folder has the manifest of a store, which other programs' manifests are not."""
    try:
        return STORE_WORD in read_small(folder / MANIFEST)
    except (OSError, ValueError):
        return False


def require_regular(path: str | Path) -> None:
    """ValueError for a pipe, a device or a folder: reading it might never end.

    Also for a name that no file can have. What is not there at all is left to the reader, and what
    the storage fails to tell is its OSError.
    """
    try:
        mode = os.stat(path).st_mode
    except FileNotFoundError:
        return
    except OSError as error:
        if error.errno not in NAMELESS:
            raise
        raise ValueError(f"{Path(path).name[:80]!a} is no file: {error.strerror}") from None
    if not stat.S_ISREG(mode):
        kind = "a folder" if stat.S_ISDIR(mode) else "a pipe or a device"
        raise ValueError(f"{Path(path).name} is {kind}, not a file")


def read_small(path: str | Path, most: int = MOST_SMALL) -> bytes:
    """The bytes of a text or list that may come from elsewhere; ValueError for no file, or a long
    one, which a sparse file may claim to be at no cost. OSError of the storage passes."""
    require_regular(path)
    with open(path, "rb") as file:
        data = file.read(most + 1)
    if len(data) > most:
        raise ValueError(f"{Path(path).name} is over {most:,} bytes")
    return data


def fault_of_weights(file: Path) -> str | None:
    """What a file is that was taken for weights and holds none or not all, with the remedy.

    None where it may hold some.
    """
    try:
        with file.open("rb") as opened:
            start = opened.read(START)
        if start.startswith(b"PK\x03\x04") and not zipfile.is_zipfile(file):
            return "cut short, an archive without its end: download it again"
        return _fault_of_text(start) or _missing_end(file)
    except OSError:
        return None


def _fault_of_text(start: bytes) -> str | None:
    """The same of a file that starts as text."""
    words = start.lstrip()
    if words.startswith(b"version https://git-lfs"):
        return "a Git LFS pointer, not the weights: run `git lfs pull` where it comes from"
    if words[:1] == b"<":
        return "a web page, not the weights: download the file itself"
    if not words:
        return "an empty file: download it again"
    try:
        shown = codecs.getincrementaldecoder("utf-8")().decode(start)  # its end may be cut
    except UnicodeDecodeError:
        return None
    if not all(character.isprintable() or character.isspace() for character in shown):
        return None
    kind = "JSON text" if words[:1] in b"{[" else "a text file"
    return f"{kind}, not the weights: download the file itself"


def _missing_end(file: Path) -> str | None:
    """The same of a safetensors file that is shorter than its header says."""
    size = file.stat().st_size
    with file.open("rb") as opened:
        header = int.from_bytes(opened.read(8), "little")
        if opened.read(1) != b"{" or header > HEADER_LIMIT:
            return None
        opened.seek(8)
        try:
            table = parse_json(opened.read(header))
            ends = [each["data_offsets"][1] for key, each in table.items() if key[:2] != "__"]
            whole = 8 + header + max(ends, default=0)
        except (ValueError, LookupError, TypeError, AttributeError):
            whole = 8 + header
    if size >= whole:
        return None
    return f"cut short, {size} bytes of at least {whole}: download it again"


def is_url(place: str | Path) -> bool:
    """Whether a place is named by URL, and not on this machine's disk (file://)."""
    return "://" in str(place) and not str(place).startswith("file://")


def local_place(place: str | Path) -> Path:
    """The path of a place on this machine's disk, which may be a file:// URL."""
    return Path(str(place).removeprefix("file://"))


def storage(place: str) -> tuple[Any, str]:
    """The fsspec filesystem of a path or URL, and the path there.

    Of S3 it bounds the requests in flight and has each tried again; what the user has configured
    of fsspec goes before. One request reads a file: s3fs tries that again wherever it breaks off,
    and not where it fetches parts of a file at once.
    """
    import fsspec  # not where nothing is read

    own = fsspec.config.conf.setdefault("s3", {})
    own.setdefault("config_kwargs", {"max_pool_connections": IN_FLIGHT})
    own.setdefault("max_concurrency", 1)
    found: tuple[Any, str] = fsspec.core.url_to_fs(place)
    return found


def is_there(fs: Any, path: str) -> bool:
    """Whether the storage has a file or folder now, whatever its last listing said."""
    fs.invalidate_cache(path)
    return bool(fs.exists(path))


def is_local(fs: Any) -> bool:
    """Whether an fsspec filesystem is the local disk."""
    return "file" in (fs.protocol if isinstance(fs.protocol, tuple) else (fs.protocol,))


def write_bytes(fs: Any, path: str, data: bytes) -> None:
    """Write `data` to `path` on an fsspec filesystem, atomically.

    The local disk needs `write_atomic`; a put to an object store is atomic already.
    """
    if is_local(fs):
        write_atomic(Path(path), data)
    else:
        fs.pipe_file(path, data)


def write_atomic(path: Path, data: bytes) -> None:
    """Write a local file: a temporary file beside it, fsync, rename."""
    with replacing(path) as temporary, temporary.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A new name beside `path` for a file or folder, which takes its place when all is written.

    No file of the user's has that name, since part of it is random. After an error nothing is
    left.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f"{path.name}.{uuid.uuid4().hex}.tmp")
    try:
        yield temporary
        temporary.replace(path)
    except BaseException:
        if temporary.is_dir():
            shutil.rmtree(temporary, ignore_errors=True)
        else:
            temporary.unlink(missing_ok=True)
        raise


def parse_json(data: bytes | str, finite: bool = True) -> Any:
    """What a JSON document from elsewhere holds; ValueError, in words of ours, for another.

    What could be neither shown nor written back counts as none too: a key given twice, halves of
    characters, numbers of over 4,300 digits or, if they must be `finite`, NaN and Inf, and more
    than DEEPEST tables and lists in one another.
    """
    try:
        text = data if isinstance(data, str) else data.decode("utf-8-sig")
        found = json.loads(text, object_pairs_hook=_table)
    except (ValueError, RecursionError):
        raise ValueError(NO_JSON) from None
    level = [found]
    for _ in range(DEEPEST):
        if not (level := [each for value in level for each in _inner(value, finite)]):
            return found
    raise ValueError(NO_JSON)


def _table(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """The object of these pairs; ValueError for a key given twice, which readers read unlike."""
    table = dict(pairs)
    if len(table) != len(pairs):
        raise ValueError(NO_JSON)
    return table


def _inner(value: Any, finite: bool) -> Iterable[Any]:
    """What a value of JSON holds; ValueError for a text or number that cannot be used."""
    if isinstance(value, dict):
        return (*value, *value.values())
    if isinstance(value, list):
        return value
    is_half = isinstance(value, str) and not value.isascii() and HALVES.search(value)
    if is_half or (finite and isinstance(value, float) and not math.isfinite(value)):
        raise ValueError(NO_JSON)
    return ()


def json_bytes(value: Any) -> bytes:
    """A value as JSON with sorted keys, so that equal values give equal bytes."""
    return json.dumps(value, indent=1, sort_keys=True, ensure_ascii=False).encode()
