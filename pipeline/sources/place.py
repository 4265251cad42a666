"""Where the files of a source are: on a disk, or at a URL of fsspec (s3://, gs://, https://)."""

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO

from nvg.errors import first_line
from nvg.files import is_local, require_regular, storage
from pipeline.sources.base import BadImageError

CONCURRENT = 64  # files fetched at once from remote storage
MOST_BYTES = 1 << 30  # of a file that holds one image
READ_AHEAD = 4 << 20  # bytes of a remote file per request


class Place:
    """A file or folder on one filesystem."""

    def __init__(self, location: str | Path) -> None:
        location = os.path.expanduser(str(location))
        self.fs, self.root = storage(location.rstrip("/") or "/")
        self.is_local = is_local(self.fs)
        # Absolute: workers may run in another folder.
        self.location = self.root if self.is_local else location.rstrip("/")

    def __str__(self) -> str:
        return self.location

    @property
    def name(self) -> str:
        """The last part of the path."""
        return self.root.rpartition("/")[2]

    @property
    def parent(self) -> "Place":
        """The folder that holds this file."""
        return Place(self.location.rpartition("/")[0] or "/")

    def exists(self) -> bool:
        """Whether there is a file or folder."""
        return bool(self.fs.exists(self.root))

    def matches(self) -> list["Place"]:
        """The file or folder itself, or else the files that fit the name as a pattern, sorted."""
        if self.exists():
            return [self]
        if not any(sign in self.root for sign in "*?["):
            return []
        return [Place(self.fs.unstrip_protocol(path)) for path in sorted(self.fs.glob(self.root))]

    def is_dir(self) -> bool:
        """Whether it is a folder."""
        return bool(self.fs.isdir(self.root))

    def holding(self, suffix: str) -> list["Place"]:
        """The files directly in this folder whose names end so, sorted; of a file, itself."""
        if not self.is_dir():
            return [self]
        found = (path for path in self.fs.ls(self.root, detail=False) if path.endswith(suffix))
        return [Place(self.fs.unstrip_protocol(path)) for path in sorted(found)]

    def folders(self) -> list[str]:
        """Names of the folders directly in this one, sorted."""
        if self.is_local:
            return sorted(entry.name for entry in os.scandir(self.root) if _is_folder(entry))
        found = self.fs.ls(self.root, detail=True)
        names = (i["name"].rstrip("/") for i in found if i["type"] == "directory")
        return sorted(name.rpartition("/")[2] for name in names)

    def files(self, below: bool = True) -> Iterator[tuple[str, int]]:
        """Path from here and size of every file below, in any order; -1 for a dangling link.

        Without `below` those directly in the folder only.
        """
        if self.is_local:
            yield from _walk(self.root, below)
            return
        start = len(self.root.rstrip("/")) + 1
        if below:
            found = self.fs.find(self.root, detail=True).values()
        else:
            found = [i for i in self.fs.ls(self.root, detail=True) if i["type"] == "file"]
        for info in found:
            yield info["name"][start:], int(info.get("size") or 0)

    def head(self, key: str, count: int) -> bytes:
        """The first bytes of a file below; none where it cannot be read."""
        try:
            if self.is_local:
                require_regular(f"{self.root}/{key}")
            data: bytes = self.fs.cat_file(f"{self.root}/{key}", start=0, end=count)
        except Exception:  # of any storage
            return b""
        return data

    def size(self) -> int:
        """Bytes of the file, -1 where there is none."""
        try:
            return int(self.fs.size(self.root))
        except OSError:
            return -1

    def stamp(self) -> str:
        """Size, and time or tag of the last change, as far as the storage tells them."""
        try:
            if self.is_local:
                found = os.stat(self.root)
                return f"{found.st_size} {found.st_mtime_ns}"
            info = self.fs.info(self.root)
        except OSError:
            return ""
        tags = [info.get(name, "") for name in ("ETag", "etag", "LastModified", "mtime", "created")]
        return " ".join(map(str, [info.get("size"), *filter(None, tags)]))

    def read(self) -> bytes:
        """The whole file. OSError, whatever the storage raises, and for what is no file."""
        try:
            if self.is_local:
                require_regular(self.root)
            data: bytes = self.fs.cat_file(self.root)
        except Exception as error:
            raise _as_oserror(error) from error
        return data

    def open(self) -> BinaryIO:
        """The file to read in, at any position; a remote one is fetched as it is read."""
        options: dict[str, Any] = {} if self.is_local else {"block_size": READ_AHEAD}
        stream: BinaryIO = self.fs.open(self.root, "rb", **options)
        return stream

    def read_many(self, keys: Sequence[str]) -> Iterator[bytes | OSError]:
        """The bytes of each file below, or the error in its place; remote files concurrently.

        A key may be a path or a URL of its own.
        """
        for start in range(0, len(keys), CONCURRENT):
            part = keys[start : start + CONCURRENT]
            if self.is_local and not any("://" in key for key in part):
                yield from map(self._read_here, part)
            elif any("://" in key or key.startswith("/") for key in part):
                yield from map(_read_there, (self._resolve(key) for key in part))
            else:
                paths = [f"{self.root}/{key}" for key in part]
                found = self.fs.cat(paths, on_error="return", batch_size=CONCURRENT)
                for path in paths:
                    data = found[self.fs._strip_protocol(path)]
                    yield data if isinstance(data, bytes) else _as_oserror(data)

    def _resolve(self, key: str) -> str:
        return key if "://" in key or key.startswith("/") else f"{self.location}/{key}"

    def _read_here(self, key: str) -> bytes | OSError:
        try:
            path = Path(self.root, os.path.expanduser(key))
            _require_image_file(path)
            return path.read_bytes()
        except Exception as error:  # of a name too: a NUL in it, half a character
            return _as_oserror(error)


def _read_there(url: str) -> bytes | OSError:
    try:
        return Place(url).read()
    except Exception as error:  # an unknown protocol included
        return _as_oserror(error)


def _as_oserror(error: Exception) -> OSError:
    """The same as an OSError; what only Python says of a name is said plainly."""
    if isinstance(error, OSError):
        return error
    if isinstance(error, UnicodeError) or "null byte" in str(error):
        return BadImageError("no file can have that name")
    if isinstance(error, ValueError):  # of `require_regular`, or of a URL that is none
        return BadImageError(first_line(error))
    return OSError(first_line(error))


def _require_image_file(path: Path) -> None:
    """ValueError for what is no file, or is too large for one image."""
    require_regular(path)
    if (size := path.stat().st_size) > MOST_BYTES:
        raise ValueError(f"it has {size} bytes, an image at most {MOST_BYTES}")


def _is_folder(entry: os.DirEntry[str]) -> bool:
    """Whether it is a folder, and no link to one that holds it."""
    try:
        if not entry.is_dir():
            return False
    except OSError:  # of a link to itself
        return False
    there = os.path.realpath(entry.path)
    return not Path(os.path.realpath(os.path.dirname(entry.path))).is_relative_to(there)


def _walk(root: str, below: bool) -> Iterator[tuple[str, int]]:
    """Files below a local folder; of links to folders those directly in it are followed."""
    tops = [root]
    if below:
        tops += [entry.path for entry in os.scandir(root) if _is_folder(entry)]
    for top in tops:
        for parent, directories, files in os.walk(top):
            if top == root:
                directories.clear()
            for file in files:
                path = f"{parent}/{file}"
                try:
                    size = os.stat(path).st_size
                except OSError:
                    size = -1
                yield path[len(root) + 1 :], size
