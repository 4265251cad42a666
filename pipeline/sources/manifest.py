"""A list of images: entries with `path` and, where there are any, `label` and `split`."""

import logging
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from nvg.errors import first_line
from nvg.store import Split
from pipeline.sources.base import Row, SourceError, digest, storable
from pipeline.sources.labels import label_column, label_ids
from pipeline.sources.list_files import list_entries
from pipeline.sources.place import Place
from pipeline.sources.rows import Rows
from pipeline.sources.splits import OWN, TEST, WORDS, are_splits

PATHS = ("path", "file", "file_name", "filename", "filepath", "image", "image_path")

log = logging.getLogger("nvg")


class ManifestSource:
    """Images named by a list (`list_files`), in its order; paths count from its folder.

    A path may be a URL. Labels are numbers or class names, in the column `label` (else
    `label_column`); without any, every label is -1. An entry without a split is for training.
    """

    def __init__(self, path: str | Path, label: str = "") -> None:
        listed = Place(path)
        self.root = listed.parent
        self.left_out: dict[str, int] = {}
        try:
            entries = list(_entries(listed, label))
        except SourceError:
            raise
        except UnicodeDecodeError as error:
            raise SourceError(f"data.path {path} is no list of images: it is not UTF-8") from error
        except Exception as error:  # whatever a file from elsewhere causes
            reason = first_line(error)
            raise SourceError(f"data.path {path} is no list of images: {reason}") from error
        if not entries:
            raise SourceError(f"data.path {path} lists no images")
        if are_splits((word for _, _, word in entries), path):
            entries = [entry for entry in entries if entry[2] != TEST]
        self.classes, labels = label_ids([label for _, label, _ in entries], path)
        self.rows: Sequence[Row] = Rows.of(
            Row(key, label, OWN.get(word, Split.TRAIN))
            for (key, _, word), label in zip(entries, labels, strict=True)
        )

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


def _entries(listed: Place, wanted: str) -> Iterator[tuple[str, str | None, str]]:
    """Path, label text and word for the split of each entry. ValueError names a bad line."""
    wanted, paths, column = wanted.strip().lower(), "", None
    for number, entry in list_entries(listed):
        if not paths:
            paths = next((name for name in PATHS if name in entry), "")
            if paths and paths != PATHS[0]:
                log.info("%s: paths are those of column %s", listed, paths)
        name = entry.get(paths)
        if not isinstance(name, str) or not name.strip():
            raise ValueError(f"line {number} has no path; its columns: {', '.join(entry)}")
        column = column or label_column(entry, wanted, listed)
        word = str(entry.get("split") or Split.TRAIN.value).strip()
        if word not in WORDS:
            raise ValueError(f"line {number} has split {word!r}, not {', '.join(WORDS)}")
        label = entry.get(column) if column else None
        text = None if label is None else storable(str(label).strip()) or None
        yield storable(name), text, word
