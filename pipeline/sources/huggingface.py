"""Hugging Face image tables: Parquet and Arrow files with columns `image` and `label`."""

from abc import ABC, abstractmethod
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from nvg.errors import first_line
from nvg.store import Split
from pipeline.sources.base import BadImageError, Row, SourceError, digest
from pipeline.sources.counts import Counting, Counts, Spread
from pipeline.sources.grouped import read_grouped
from pipeline.sources.labels import Classes, classes_of, number_names
from pipeline.sources.place import Place
from pipeline.sources.rows import Entry, PartListing, Rows, has_changed
from pipeline.sources.splits import Part, parts_of, require_images
from pipeline.sources.tables import (
    Arrow,
    Labels,
    Parquet,
    TableFormat,
    count_table,
    first_rows,
    open_arrow,
    parquet_bytes,
)


class _TableSource(ABC):
    """Files of rows `image: {bytes, path}` and `label`; a key is `FILE:ROW`.

    Where no column is called `image`, the only one of that type is taken. Labels are those of the
    column `label`, else of `label_column`; without one no image has a class. Names of files or
    folders may tell splits apart (`parts_of`).
    """

    kind: TableFormat

    def __init__(self, path: str | Path, label: str = "", counting: Counting | None = None) -> None:
        parts = parts_of(path, self.kind.suffix)
        self.files = {part.name: part.place for part in parts}
        if not parts:
            raise SourceError(f"data.path {path} holds no *{self.kind.suffix} files")
        count = partial(_counts, self.kind, label, str(path), parts)
        counts = (counting or Counting()).of(parts, f"{self.kind.name} {label}", count)
        self.classes, self.left_out = list(counts.classes), dict[str, int]()
        self.columns = dict(zip(self.files, counts.columns[::2], strict=True))
        rows = Rows.split(
            _Tables(self.kind, parts, counts),
            [part.split is Split.VAL for part in parts],
            counts.rows,
        )
        self.rows: Sequence[Row] = rows
        require_images(rows.splits(), (part.split for part in parts), path)
        self._fingerprint = counts.fingerprint

    @abstractmethod
    def _read_file(self, name: str, keys: list[str]) -> Iterator[bytes | OSError]:
        """The images of keys of one file, in turn."""

    def read(self, keys: Sequence[str]) -> Iterator[bytes | OSError]:
        """Rows of the files; each file is opened once, in whatever order the keys come."""
        return read_grouped(keys, lambda key: key.rpartition(":")[0], self._read_file)

    def fingerprint(self) -> str:
        """Over file names and sizes and the number of rows, as they were when it was opened."""
        return self._fingerprint


class _Tables(PartListing):
    """The rows of files: their labels are read again, and nothing else."""

    def __init__(self, kind: TableFormat, parts: Sequence[Part], counts: Counts) -> None:
        super().__init__(counts.rows)
        self.kind, self.parts, self.classes = kind, parts, counts.classified()
        self.columns = counts.columns[1::2]

    def part(self, part: int, first: int, stop: int) -> list[Entry]:
        """Rows of one file."""
        labels: Labels = [None] * (stop - first)
        if column := self.columns[part]:
            labels = self._labels(self.parts[part].place, column, first, stop)
        if len(labels) < stop - first:
            raise has_changed(self.parts[part].place)
        ids, name = self.classes.ids(labels), self.parts[part].name
        return [(f"{name}:{n}", label) for n, label in zip(range(first, stop), ids, strict=True)]

    def _labels(self, file: Place, column: str, first: int, stop: int) -> Labels:
        """Labels of rows of a file. SourceError where it is damaged."""
        try:
            return self.kind.labels(file, column, first, stop)
        except (OSError, ValueError) as error:
            if isinstance(error, OSError) and error.errno is not None:
                raise  # of the storage; pyarrow's own for damage has no number
            raise SourceError(
                f"{file}: column {column} is damaged: restore the file from a copy, or take it away"
            ) from error


def _counts(
    kind: TableFormat, label: str, path: str, parts: Sequence[Part], spread: Spread
) -> Counts:
    """The sum over all files. SourceError where they hold no image, or odd labels."""
    found = list(spread(partial(count_table, kind, label, path), parts))
    rows = [each.rows for each in found]
    if not any(rows):
        raise SourceError(f"data.path {path} holds no images")
    texts = {text for each in found for text in each.texts}
    if texts:  # numbers in other files are texts too
        numbered = [n for n, each in enumerate(found) if each.label and not each.texts]
        for n in numbered:
            labels = kind.labels(parts[n].place, found[n].label, 0, rows[n])
            texts.update(str(value) for value in labels if value is not None)
        classes = classes_of(texts, path)
    else:
        highest = max(each.highest for each in found)
        names = number_names([min(each.lowest for each in found), highest], path)
        names = next((list(each.names) for each in found if each.names), names)
        if highest >= len(names):
            raise SourceError(
                f"{path} has label {highest} but {len(names)} class names: add the names that are "
                "missing, or choose another column by data.label"
            )
        classes = Classes(names, True)
    sizes = [f"{part.name}\t{part.place.size()}" for part in parts]
    return Counts(
        rows=tuple(rows),
        classes=tuple(classes.names),
        by_number=classes.by_number,
        columns=tuple(column for each in found for column in (each.image, each.label)),
        fingerprint=digest([*sizes, str(sum(rows))]),
    )


class ParquetSource(_TableSource):
    """Hugging Face image Parquet, file or folder."""

    kind = Parquet()

    def _read_file(self, name: str, keys: list[str]) -> Iterator[bytes | OSError]:
        """Rows of a file; each row group that holds some is read once, its image bytes only."""
        column = self.columns[name]
        with parquet_bytes(self.files[name]) as reader:
            starts = first_rows(reader)

            def read_group(group: int, own: list[str]) -> list[bytes | OSError]:
                with damage_of(own) as found:
                    table = reader.read_row_group(group, columns=[f"{column}.bytes"])
                    rows = [_row(key) - starts[group] for key in own]
                    found[:] = _bytes(table[column], rows)
                return found

            yield from read_grouped(
                keys, lambda key: bisect_right(starts, _row(key)) - 1, read_group
            )


class ArrowSource(_TableSource):
    """Arrow files as `datasets` saves them (`save_to_disk`, its cache), file or folder."""

    kind = Arrow()

    def _read_file(self, name: str, keys: list[str]) -> Iterator[bytes | OSError]:
        """Rows of a memory-mapped file, one at a time: a set of them may be larger than memory."""
        column = open_arrow(self.files[name])[self.columns[name]]
        for key in keys:
            with damage_of([key]) as found:
                found[:] = _bytes(column, [_row(key)])
            yield from found


@contextmanager
def damage_of(keys: list[str]) -> Iterator[list[bytes | OSError]]:
    """A list for the images of some keys: of errors, where their part of a file is damaged.

    What storage fails to read, which has an error number, is raised.
    """
    found: list[bytes | OSError] = []
    try:
        yield found
    except Exception as error:  # whatever a damaged page causes
        if isinstance(error, OSError) and error.errno is not None:
            raise
        found[:] = [BadImageError(f"its part of the file is damaged: {first_line(error)}")] * len(
            keys
        )


def _row(key: str) -> int:
    return int(key.rpartition(":")[2])


def _bytes(column: Any, rows: list[int]) -> list[bytes | OSError]:
    """The bytes in some rows of an image column, an error in place of none."""
    images = column.take(rows).to_pylist()
    found = [(image or {}).get("bytes") for image in images]
    return [OSError("the row holds no image bytes") if data is None else data for data in found]
