"""What every source of images is: rows in a fixed order, and the bytes of some of them."""

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from nvg.errors import InputError
from nvg.store import Split


class SourceError(InputError):
    """A source that cannot be used; the message names the path and the remedy."""


class BadImageError(OSError):
    """In place of an image: what is there was read, or can never be, and is none.

    Any other OSError says that storage fails just now; such rows are tried again by `--resume`.
    """


@dataclass(frozen=True, slots=True)
class Row:
    """One image of a source: a key that finds it again, its class id, its split."""

    key: str
    label: int
    split: Split = Split.TRAIN


class Source(Protocol):
    """Images with class names; `rows` are the same every time for the same files."""

    classes: list[str]
    rows: Sequence[Row]
    left_out: dict[str, int]
    """How many files are no rows, by reason."""

    def read(self, keys: Sequence[str]) -> Iterator[bytes | OSError]:
        """The file bytes of each key in turn; an error in place of what cannot be read.

        A `BadImageError` where trying again would not help.
        """

    def fingerprint(self) -> str:
        """SHA-256 over what the source holds: it changes when that does."""


def storable(text: str) -> str:
    """A key or a class as an index can hold it: half a character is written out, `\\ud800`."""
    return text.encode(errors="backslashreplace").decode()


def require_unicode(keys: Iterable[str], path: object) -> None:
    """SourceError for a name that is no text: an index could not hold it."""
    for key in keys:
        if not key.isascii() and key.encode(errors="replace").decode() != key:
            raise SourceError(f"{path}: the name {key!a} is not UTF-8: rename it")


def digest(lines: Iterable[str]) -> str:
    """SHA-256 over lines."""
    state = hashlib.sha256()
    for line in lines:
        state.update(line.encode() + b"\n")
    return state.hexdigest()
