"""A list of images: entries with `path` and, where there are any, `label` and `split`."""

import logging
import os
from array import array
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from nvg.errors import first_line
from nvg.store import Split
from pipeline.sources.base import Row, SourceError, digest, storable
from pipeline.sources.labels import Classes, classes_of, label_column
from pipeline.sources.list_files import is_whole, list_entries
from pipeline.sources.place import Place
from pipeline.sources.rows import Entry, Flags, Numbers, PartListing, Rows, has_changed
from pipeline.sources.splits import OWN, TEST, WORDS, are_splits

PATHS = ("path", "file", "file_name", "filename", "filepath", "image", "image_path")

PART_ENTRIES = 4096  # of a part of a long list
HELD = 1_000_000  # rows of a list that is held in memory, 12 bytes each and the path

log = logging.getLogger("nvg")


class ManifestSource:
    """Images named by a list (`list_files`), in its order; paths count from its folder.

    A path may be a URL. Labels are numbers or class names, in the column `label` (else
    `label_column`); without any, every label is -1. An entry without a split is for training. Of a
    list of more than HELD rows, parts are read when they are asked for, unless it `is_whole`.
    """

    def __init__(self, path: str | Path, label: str = "") -> None:
        listed = Place(path)
        self.root = listed.parent
        self.left_out: dict[str, int] = {}
        reader = _Reader(listed, label)
        try:
            counted = _Counted(reader)
        except SourceError:
            raise
        except UnicodeDecodeError as error:
            reason = "it is not UTF-8: save it as UTF-8"
            raise SourceError(f"data.path {path} is no list of images: {reason}") from error
        except Exception as error:  # whatever a file from elsewhere causes
            reason = first_line(error)
            raise SourceError(f"data.path {path} is no list of images: {reason}") from error
        if not counted.words:
            raise SourceError(f"data.path {path} lists no images")
        leaves_out = are_splits(counted.words, path)
        classes = classes_of(counted.labels(leaves_out), path)
        runs = counted.runs(leaves_out)
        rows = Rows.split(_Parts(reader, counted, classes, leaves_out), *runs)
        self.classes = classes.names
        is_long = len(rows) > HELD and not is_whole(listed.name)
        self.rows: Sequence[Row] = rows if is_long else rows.loaded()

    def read(self, keys: Sequence[str]) -> Iterator[bytes | OSError]:
        """One file each."""
        return self.root.read_many(keys)

    def fingerprint(self) -> str:
        """Over paths, labels and val rows, and sizes of files on a disk (others cost a request)."""
        return digest(
            f"{row.key}\t{row.label}\t{self._size(row.key)}"
            + (f"\t{row.split}" if row.split is Split.VAL else "")
            for row in self.rows
        )

    def _size(self, key: str) -> int:
        if not self.root.is_local or "://" in key:
            return -1
        try:
            return os.stat(os.path.join(self.root.root, os.path.expanduser(key))).st_size
        except (OSError, ValueError):  # of a name with a NUL
            return -1


class _Reader:
    """Reads entries of a list, from its beginning or a place on."""

    def __init__(self, listed: Place, wanted: str) -> None:
        self.listed, self.wanted = listed, wanted.strip().lower()
        self.paths = ""
        """Column, once an entry has had it; that of labels too."""
        self.column: str | None = None

    def entries(self, place: int = 0) -> Iterator[tuple[int, str, str | None, str]]:
        """Place, path, label text and word for the split of each. ValueError names a bad line."""
        for at, number, entry in list_entries(self.listed, place):
            if not self.paths:
                self.paths = next((name for name in PATHS if name in entry), "")
                if self.paths and self.paths != PATHS[0]:
                    log.info("%s: paths are those of column %s", self.listed, self.paths)
            name = entry.get(self.paths)
            if not isinstance(name, str) or not name.strip():
                raise ValueError(_no_path(number, entry, self.paths))
            self.column = self.column or label_column(entry, self.wanted, self.listed)
            word = str(entry.get("split") or Split.TRAIN.value).strip()
            if word not in WORDS:
                raise ValueError(f"line {number} has split {word!r}, not {', '.join(WORDS)}")
            label = entry.get(self.column) if self.column else None
            text = None if label is None else storable(str(label).strip()) or None
            yield at, storable(name), text, word


class _Counted:
    """What going through a list once finds: labels, words of splits, and where its parts begin."""

    def __init__(self, reader: _Reader) -> None:
        self.words, self.stamp = set[str](), reader.listed.stamp()
        self._labels: dict[bool, set[str]] = {True: set(), False: set()}  # of a test split or not
        self.places = array("q")
        words, counts, parts = array("b"), array("q"), array("q")  # of runs of one word in a part
        most = None if is_whole(reader.listed.name) else PART_ENTRIES
        for number, (place, _, label, word) in enumerate(reader.entries()):
            if number == 0 or (most and number % most == 0):
                self.places.append(place)
            part, code = len(self.places) - 1, WORDS.index(word)
            if not parts or (parts[-1], words[-1]) != (part, code):
                words.append(code)
                counts.append(0)
                parts.append(part)
            counts[-1] += 1
            self.words.add(word)
            if label is not None:
                self._labels[word == TEST].add(label)
        self._words, self._counts, self._parts = (np.array(x) for x in (words, counts, parts))

    def labels(self, leaves_out: bool) -> set[str]:
        """The different label texts; without a test split or with it."""
        return self._labels[False] | (set() if leaves_out else self._labels[True])

    def runs(self, leaves_out: bool) -> tuple[Flags, Numbers]:
        """Whether consecutive rows are held out, and how many."""
        kept = self._kept(leaves_out)
        val = [WORDS.index(word) for word, split in OWN.items() if split is Split.VAL]
        return np.isin(self._words[kept], val), self._counts[kept]

    def sizes(self, leaves_out: bool) -> Any:
        """Rows of each part."""
        kept = self._kept(leaves_out)
        sizes = np.zeros(len(self.places), np.int64)
        np.add.at(sizes, self._parts[kept], self._counts[kept])
        return sizes

    def _kept(self, leaves_out: bool) -> Flags:
        is_test: Flags = self._words == WORDS.index(TEST)
        return ~is_test if leaves_out else np.ones_like(is_test)


class _Parts(PartListing):
    """Rows of a list, of which a part is read anew; the last one stays."""

    def __init__(
        self, reader: _Reader, counted: _Counted, classes: Classes, leaves_out: bool
    ) -> None:
        super().__init__(counted.sizes(leaves_out))
        self.reader, self.classes, self.leaves_out = reader, classes, leaves_out
        self.places, self.stamp = np.array(counted.places), counted.stamp
        self.last: tuple[int, list[Entry]] | None = None

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"last": None}

    def part(self, part: int, first: int, stop: int) -> list[Entry]:
        """A part is read whole. SourceError where the list is not what it was."""
        if self.last is None or self.last[0] != part:
            self.last = part, self._read(part)
        return self.last[1][first:stop]

    def _read(self, part: int) -> list[Entry]:
        listed, count = self.reader.listed, self.ends[part] - (self.ends[part - 1] if part else 0)
        if listed.stamp() != self.stamp:
            raise has_changed(listed)
        entries = self.reader.entries(int(self.places[part]))
        kept = (e for e in entries if not (self.leaves_out and e[3] == TEST))
        found = list(islice(kept, int(count)))
        ids = self.classes.ids(label for _, _, label, _ in found)
        return [(key, label) for (_, key, _, _), label in zip(found, ids, strict=True)]


def _no_path(number: int, entry: dict[str, object], paths: str) -> str:
    """Why an entry names no image."""
    columns = ", ".join(entry)
    if not paths:
        known = ", ".join(PATHS)
        return f"none of its columns ({columns}) is one of {known}: let its header name one"
    if isinstance(entry.get(paths), bytes):
        return f"column {paths} holds bytes: let it hold {{bytes, path}}, as `datasets` writes it"
    return f"line {number} has no path; its columns: {columns}"
