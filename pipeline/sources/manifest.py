"""A list of images: CSV or JSON lines with `path` and, where there are classes, `label`."""

import csv
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from pipeline.sources.base import Row, SourceError, digest, label_ids, read_files, size_of


class ManifestSource:
    """Images named by a .csv or .jsonl file, in its order; paths count from its folder.

    Labels are numbers or class names; without any, every label is -1.
    """

    def __init__(self, path: Path) -> None:
        self.root = path.parent
        try:
            entries = list(_entries(path))
        except (OSError, ValueError, csv.Error) as error:
            raise SourceError(f"data.path {path} is no list of images: {error}") from error
        if not entries:
            raise SourceError(f"data.path {path} lists no images")
        self.classes, labels = label_ids([label for _, label in entries], path)
        self.rows = [Row(key, label) for (key, _), label in zip(entries, labels, strict=True)]

    def read(self, keys: Sequence[str]) -> Iterator[bytes | OSError]:
        """One file each."""
        return read_files(self.root, keys)

    def fingerprint(self) -> str:
        """Over paths, labels and file sizes."""
        return digest(
            f"{row.key}\t{row.label}\t{size_of(self.root / row.key)}" for row in self.rows
        )


def _entries(path: Path) -> Iterator[tuple[str, str | None]]:
    """Path and label text of each entry. ValueError names the line that has no path."""
    with path.open(encoding="utf-8-sig", newline="") as file:
        for number, entry in _lines(path, file):
            name, label = entry.get("path"), entry.get("label")
            if not isinstance(name, str) or not name:
                raise ValueError(f"line {number} has no path")
            yield name, None if label is None or label == "" else str(label)


def _lines(path: Path, file: Any) -> Iterator[tuple[int, dict[str, Any]]]:
    """Number and content of each line that holds an entry."""
    if path.suffix == ".csv":
        reader = csv.DictReader(file)
        for entry in reader:
            yield reader.line_num, entry
        return
    if path.suffix not in (".jsonl", ".ndjson"):
        raise ValueError("its name must end in .csv or .jsonl")
    for number, line in enumerate(file, 1):
        if line.strip():
            entry = json.loads(line)
            if not isinstance(entry, dict):
                raise ValueError(f"line {number} is no object")
            yield number, entry
