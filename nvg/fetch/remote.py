"""A folder or file behind a URL of fsspec: s3://, hf://, https://, gs:// and others."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import PurePosixPath
from typing import Any, BinaryIO
from urllib.parse import unquote, urlsplit

from nvg.errors import InputError, WorkError
from nvg.fetch.listing import FILES, MOST_BYTES, Entry, read_list
from nvg.files import storage

BLOCK = 16 << 20  # bytes of a request
# Protocol -> the extra of pyproject.toml that brings its package.
EXTRAS = {"s3": "s3", "s3a": "s3", "http": "http", "https": "http", "hf": "hf"}
WEIGHTS = (".safetensors", ".pth", ".pt", ".ckpt", ".bin", ".tar", ".pkl")  # a file, not a folder
RUN_FILES = (".safetensors", ".json", ".toml")  # of a run that has no list
TAGS = ("ETag", "etag", "blob_id", "md5Hash", "LastModified", "last_modified", "mtime")


class UnreachableError(WorkError):
    """Storage that does not answer, or breaks off."""


class Remote:
    """What is at a URL."""

    def __init__(self, url: str) -> None:
        self.url = url.rstrip("/")
        protocol = self.url.partition("://")[0]
        try:
            self.fs, self.root = storage(self.url)
        except ImportError as error:
            raise InputError(f"{url} needs a package: {_remedy(protocol, error)}") from None
        except ValueError as error:
            raise InputError(f"{url} is no URL that can be read: {_line(error)}") from None
        self.is_http = protocol in ("http", "https")

    @property
    def name(self) -> str:
        """The last part of the path, without what follows a `?`."""
        path = unquote(urlsplit(self.url).path) if self.is_http else self.root
        return PurePosixPath(path).name

    @property
    def is_weights_file(self) -> bool:
        """Whether the name is that of a file of weights."""
        return PurePosixPath(self.name).suffix.lower() in WEIGHTS

    def file_entry(self) -> Entry:
        """The file that the URL names; InputError where there is none."""
        with naming(self.url):
            info = self.fs.info(self.root)
        if info.get("type") == "directory":
            raise InputError(f"{self.url} is a folder: name a file")
        return _entry(self.name, info)

    def folder_entries(self) -> list[Entry]:
        """The files of the run that the URL names, by its list or by the storage's.

        InputError where there is no run, or no way to tell what is in it.
        """
        with naming(self.url):
            self.fs.invalidate_cache()
            try:
                size = None if self.is_http else self.fs.size(f"{self.root}/{FILES}")
                if (size or 0) > MOST_BYTES:
                    raise InputError(f"{self.url}/{FILES} is too long for a list of files")
                return read_list(self.fs.cat_file(f"{self.root}/{FILES}"), f"{self.url}/{FILES}")
            except FileNotFoundError:
                if self.is_http:
                    raise InputError(
                        f"{self.url} has no {FILES}, and https lists no folder: upload what "
                        "`nvgctl pack` writes, or name a weights file"
                    ) from None
            return self._listed()

    def _listed(self) -> list[Entry]:
        """The files that are needed of a run which was uploaded as it is."""
        found = self.fs.find(self.root, maxdepth=2, detail=True)
        entries = []
        for name, info in found.items():
            path = PurePosixPath(name[len(self.root) :].lstrip("/"))
            if path.suffix in RUN_FILES and path.parts[:-1] in ((), ("autoencoder",)):
                entries.append(_entry(str(path), info))
        if not entries:
            raise InputError(f"there is no run at {self.url}: it holds no weights")
        return entries

    def open(self, path: str, offset: int) -> BinaryIO:
        """A file of the folder, or with "" the file itself, from a byte on.

        ValueError where this storage cannot begin there.
        """
        whole = f"{self.root}/{path}" if path else self.root
        if self.is_http and offset == 0:  # one answer instead of many
            stream: BinaryIO = self.fs.open(whole, "rb", block_size=0)
            return stream
        stream = self.fs.open(whole, "rb", block_size=BLOCK)
        if offset:
            stream.seek(offset)
        return stream


@contextmanager
def naming(url: str) -> Iterator[None]:
    """Errors of any storage as one line that names the URL."""
    try:
        yield
    except (InputError, WorkError):
        raise
    except Exception as error:  # each storage has its own
        if isinstance(error, FileNotFoundError):  # also fsspec's word for a server without answer
            cause = error.__cause__
            if not isinstance(cause, Exception) or _status(cause) == 404:
                raise InputError(f"there is nothing at {url}") from None
            error = cause
        if isinstance(error, PermissionError) or _status(error) in (401, 403):
            raise InputError(f"{url} may not be read: see to the credentials") from None
        raise UnreachableError(f"{url} cannot be read: {_line(error)}") from None


def _status(error: Exception) -> int | None:
    """The status of HTTP that an error is about."""
    answer = getattr(error, "response", None)
    found: int | None = getattr(error, "status", getattr(answer, "status_code", None))
    return found


def _entry(path: str, info: dict[str, Any]) -> Entry:
    size = info.get("size")
    lfs = info.get("lfs")  # Hugging Face says the checksum of large files
    sha256 = lfs["sha256"] if lfs else ""
    tag = next((str(info[key]) for key in TAGS if info.get(key)), "")
    return Entry(path, None if size is None else int(size), sha256, tag)


def _remedy(protocol: str, error: Exception) -> str:
    extra = EXTRAS.get(protocol)
    return f"pip install -e '.[{extra}]'" if extra else _line(error)


def _line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [""])[0] or type(error).__name__
