"""Parquet and Arrow files of images as tables: their columns, labels and numbers of rows."""

import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from itertools import accumulate, pairwise
from typing import Any, Protocol

from nvg.errors import first_line
from nvg.files import parse_json
from pipeline.sources.base import SourceError
from pipeline.sources.labels import label_column
from pipeline.sources.place import Place
from pipeline.sources.splits import Part

IMAGE_TYPES = tuple(f"struct<bytes: {kind}" for kind in ("binary", "large_binary", "fixed_size_b"))

Labels = list[int | str | None]
Bounds = tuple[int, int]
"""The lowest and the highest."""
Looked = tuple[Any, int, Callable[[str], Bounds | Labels]]
"""Schema, number of rows, and the labels in a column: bounds of numbers, or each different one."""


@dataclass(frozen=True)
class TableCount:
    """What counting a file finds: rows, columns, and between which labels its own lie."""

    rows: int
    image: str
    label: str
    """Columns; "" where there are no labels."""
    names: tuple[str, ...] = ()
    """Of the classes, where the file tells them."""
    lowest: int = -1
    highest: int = -1
    texts: frozenset[str] = frozenset()
    """Its labels, where one of them is no number."""


class TableFormat(Protocol):
    """A kind of file."""

    name: str
    suffix: str

    def look(self, file: Place) -> AbstractContextManager[Looked]:
        """What is in an open file."""

    def labels(self, file: Place, column: str, first: int, stop: int) -> Labels:
        """Those of some rows."""


class Parquet:
    """Hugging Face image Parquet."""

    name, suffix = "Parquet", ".parquet"

    @contextmanager
    def look(self, file: Place) -> Iterator[Looked]:
        """By the footer; a column is read where that does not tell its bounds."""
        with parquet_bytes(file) as reader:

            def values(column: str) -> Bounds | Labels:
                bounds = _bounds(reader, column)
                return bounds or labels_of(reader.read(columns=[column])[column].unique())

            yield reader.schema_arrow, int(reader.metadata.num_rows), values

    def labels(self, file: Place, column: str, first: int, stop: int) -> Labels:
        """Of the row groups that hold the rows."""
        with parquet_bytes(file) as reader:
            starts = [*first_rows(reader), reader.metadata.num_rows]
            groups = [
                n for n, (low, high) in enumerate(pairwise(starts)) if low < stop and high > first
            ]
            if not groups:
                return []
            found = reader.read_row_groups(groups, columns=[column])[column]
            return labels_of(found.slice(first - starts[groups[0]], stop - first))


class Arrow:
    """Arrow files as `datasets` saves them."""

    name, suffix = "Arrow", ".arrow"

    @contextmanager
    def look(self, file: Place) -> Iterator[Looked]:
        """Checked whole: a wrong offset would be followed out of the file."""
        table = open_arrow(file)
        table.validate(full=True)
        yield table.schema, len(table), lambda column: labels_of(table[column].unique())

    def labels(self, file: Place, column: str, first: int, stop: int) -> Labels:
        """Of a mapped file."""
        return labels_of(open_arrow(file)[column].slice(first, stop - first))


def count_table(kind: TableFormat, wanted: str, path: str, part: Part) -> TableCount:
    """Rows, columns and labels of a file; `wanted` is the column of labels that was asked for.

    SourceError for a file that is no table of images.
    """
    try:
        with kind.look(part.place) as (schema, rows, values):
            image, label = image_column(schema), label_column(schema.names, wanted, path)
            names = tuple(class_names(schema.metadata, label))
            found = values(label) if label and rows else []
        if isinstance(found, tuple):
            return TableCount(rows, image, label or "", names, *found)
        known = [value for value in found if value is not None]
        if any(isinstance(value, str) for value in known):
            texts = frozenset(map(str, known))
            return TableCount(rows, image, label or "", names, texts=texts)
        numbers = [-1, *map(int, known)]
        return TableCount(rows, image, label or "", names, min(numbers), max(numbers))
    except SourceError:
        raise
    except Exception as error:  # whatever a file from elsewhere causes
        raise SourceError(
            f"{part.place} is not image {kind.name} (columns image, label): {first_line(error)}"
        ) from error


def parquet_bytes(file: Place) -> Any:
    """A reader of a Parquet file, which closes what it opened."""
    import pyarrow.parquet as pq

    return pq.ParquetFile(file.root) if file.is_local else pq.ParquetFile(file.open())


def open_arrow(file: Place) -> Any:
    """The table of an Arrow file of either kind, stream or random access.

    A file on a disk is mapped, not copied; a remote one is read whole.
    """
    import pyarrow as pa

    with (
        pa.memory_map(os.fsencode(file.root)) if file.is_local else pa.BufferReader(file.read())
    ) as source:
        if source.read(6) == b"ARROW1":
            return pa.ipc.open_file(source).read_all()
        source.seek(0)
        return pa.ipc.open_stream(source).read_all()


def class_names(metadata: dict[bytes, bytes] | None, column: str | None) -> list[str]:
    """Names of the classes from the Hugging Face features in a Parquet schema, if any."""
    try:
        features = parse_json((metadata or {})[b"huggingface"])["info"]["features"]
        return [str(name) for name in features[column]["names"]]
    except (KeyError, ValueError, TypeError):
        return []


def labels_of(column: Any) -> Labels:
    """A column of integers (floats without fraction among them) or of names.

    None where there is none, NaN and an empty name included; ValueError for other types.
    """
    import pyarrow as pa

    kind = column.type.value_type if pa.types.is_dictionary(column.type) else column.type
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        return [(text or "").strip() or None for text in column.to_pylist()]
    if pa.types.is_floating(kind):
        values = [None if v is None or v != v else v for v in column.to_pylist()]
        if all(value is None or float(value).is_integer() for value in values):
            return [None if value is None else int(value) for value in values]
    elif pa.types.is_integer(kind):
        return list(column.to_pylist())
    raise ValueError(f"labels have type {column.type}, neither whole numbers nor names")


def image_column(schema: Any) -> str:
    """`image`, or else the only column of type {bytes, path}; ValueError when there is none."""
    found = [field.name for field in schema if str(field.type).startswith(IMAGE_TYPES)]
    if "image" not in found and len(found) != 1:
        raise ValueError(f"no image column among {', '.join(schema.names)}")
    return "image" if "image" in found else str(found[0])


def first_rows(reader: Any) -> list[int]:
    """The first row of each row group."""
    metadata = reader.metadata
    counts = [metadata.row_group(group).num_rows for group in range(metadata.num_row_groups)]
    return list(accumulate(counts[:-1], initial=0))


def _bounds(reader: Any, column: str) -> tuple[int, int] | None:
    """The lowest and highest number in a column, as the footer tells them; None if it does not."""
    import pyarrow as pa

    metadata = reader.metadata
    if not pa.types.is_integer(reader.schema_arrow.field(column).type):
        return None
    names = [metadata.schema.column(n).path for n in range(metadata.num_columns)]
    groups = (metadata.row_group(group) for group in range(metadata.num_row_groups))
    found = [group.column(names.index(column)).statistics for group in groups]
    if not all(each is not None and each.has_min_max for each in found):
        return None
    return min(-1, *(each.min for each in found)), max(-1, *(each.max for each in found))
