"""Memory and open files for what is read of one chunk, used again for the next.

Asking for memory anew costs more than reading does, and threads that ask wait for each other. So do
those that call the system: each call lets another have the interpreter. Shards that were read last
therefore stay open; one in whose place another comes is read on as it was.
"""

import os
import weakref
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import numpy as np

from nvg.files import require_regular
from nvg.store.store_files import Span

Array = np.ndarray[Any, Any]
Bytes = np.ndarray[Any, np.dtype[np.uint8]]

MOST_OPEN = 64


class OpenFile:
    """A file on this machine's disk, open as long as anyone has this object."""

    def __init__(self, path: str) -> None:
        """ValueError for what is no regular file, FileNotFoundError for none."""
        require_regular(path)
        self.number = os.open(path, os.O_RDONLY)
        weakref.finalize(self, os.close, self.number)

    def size(self) -> int:
        """In bytes, as it is now."""
        return os.fstat(self.number).st_size


class OpenFiles:
    """The last few files that were asked for, by path; several threads may ask."""

    def __init__(self) -> None:
        self.kept: dict[str, OpenFile] = {}

    def __reduce__(self) -> tuple[type["OpenFiles"], tuple[()]]:
        """Another process opens its own."""
        return OpenFiles, ()

    def of(self, path: str) -> OpenFile:
        """The file, opened if it is not; errors as of `OpenFile`."""
        file = self.kept.get(path)
        if file is None:
            file = self.kept[path] = OpenFile(path)
            if len(self.kept) > MOST_OPEN:
                with suppress(KeyError, StopIteration, RuntimeError):  # another thread does so
                    del self.kept[next(iter(self.kept))]
        return file


class Scratch:
    """What one thread reads a chunk with."""

    def __init__(self, files: OpenFiles | None = None) -> None:
        self.files = files or OpenFiles()
        self.kept: dict[str, Bytes] = {}

    def bytes(self, place: str, size: int) -> Bytes:
        """So many bytes, uninitialized; those that were given out for this place are the same."""
        kept = self.kept.get(place)
        if kept is None or len(kept) < size:
            kept = self.kept[place] = np.empty(size, np.uint8)
        return kept[:size]

    def array(self, place: str, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Array:
        """The same as an array."""
        size = dtype.itemsize * int(np.prod(shape))
        found: Array = self.bytes(place, size).view(dtype).reshape(shape)
        return found

    def read(self, path: str, span: Span, place: str) -> Bytes | None:
        """A span of a file, or as much of it as there is; None where there is no such file.

        ValueError for what is no regular one.
        """
        start, stop = span
        try:
            if start is None or stop is None:  # all of it: no other chunk is there
                file = OpenFile(path)
                start, stop = 0, file.size()
            else:
                file = self.files.of(path)
        except FileNotFoundError:
            return None
        data, at = self.bytes(place, max(stop - start, 0)), 0
        while at < len(data) and (got := os.preadv(file.number, [data[at:].data], start + at)):
            at += got
        return data[:at]


class Scratches:
    """One for each thread that reads at a time; they share the open files."""

    def __init__(self) -> None:
        self.files = OpenFiles()
        self.free: list[Scratch] = []

    @contextmanager
    def one(self) -> Iterator[Scratch]:
        """One that no other thread has meanwhile."""
        try:
            scratch = self.free.pop()
        except IndexError:
            scratch = Scratch(self.files)
        try:
            yield scratch
        finally:
            self.free.append(scratch)
