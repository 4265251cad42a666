"""A list of images: CSV or JSON lines with `path` and, where there are any, `label` and `split`."""

import csv
import io
import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from nvg.store import Split
from pipeline.sources.base import Row, SourceError, digest, label_ids
from pipeline.sources.place import Place
from pipeline.sources.splits import OWN, TEST, WORDS, are_splits


class ManifestSource:
    """Images named by a .csv or .jsonl file, in its order; paths count from its folder.

    A path may be a URL. Labels are numbers or class names; without any, every label is -1. An
    entry without a split is for training.
    """

    def __init__(self, path: str | Path) -> None:
        listed = Place(path)
        self.root = listed.parent
        self.left_out: dict[str, int] = {}
        try:
            entries = list(_entries(listed))
        except (OSError, ValueError, csv.Error) as error:
            raise SourceError(f"data.path {path} is no list of images: {error}") from error
        if not entries:
            raise SourceError(f"data.path {path} lists no images")
        if are_splits((word for _, _, word in entries), path):
            entries = [entry for entry in entries if entry[2] != TEST]
        self.classes, labels = label_ids([label for _, label, _ in entries], path)
        self.rows = [
            Row(key, label, OWN.get(word, Split.TRAIN))
            for (key, _, word), label in zip(entries, labels, strict=True)
        ]

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
            return os.stat(os.path.join(self.root.root, key)).st_size
        except OSError:
            return -1


def _entries(path: Place) -> Iterator[tuple[str, str | None, str]]:
    """Path, label text and word for the split of each entry. ValueError names a bad line."""
    file = io.StringIO(path.read().decode("utf-8-sig"), newline="")
    for number, entry in _lines(path, file):
        name, label = entry.get("path"), entry.get("label")
        if not isinstance(name, str) or not name:
            raise ValueError(f"line {number} has no path")
        word = str(entry.get("split") or Split.TRAIN.value)
        if word not in WORDS:
            raise ValueError(f"line {number} has split {word!r}, not {', '.join(WORDS)}")
        yield name, None if label is None or label == "" else str(label), word


def _lines(path: Place, file: Any) -> Iterator[tuple[int, dict[str, Any]]]:
    """Number and content of each line that holds an entry."""
    if path.name.endswith(".csv"):
        reader = csv.DictReader(file)
        for entry in reader:
            yield reader.line_num, entry
        return
    if not path.name.endswith((".jsonl", ".ndjson")):
        raise ValueError("its name must end in .csv or .jsonl")
    for number, line in enumerate(file, 1):
        if line.strip():
            entry = json.loads(line)
            if not isinstance(entry, dict):
                raise ValueError(f"line {number} is no object")
            yield number, entry
