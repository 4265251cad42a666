"""Hugging Face image tables: Parquet and Arrow files with columns `image` and `label`."""

from abc import ABC, abstractmethod
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import accumulate
from pathlib import Path
from typing import Any

from nvg.errors import first_line
from pipeline.sources.base import BadImageError, Row, SourceError, digest
from pipeline.sources.grouped import read_grouped
from pipeline.sources.labels import label_column, label_ids, number_names
from pipeline.sources.place import Place
from pipeline.sources.splits import parts_of, require_images

IMAGE_TYPES = tuple(f"struct<bytes: {kind}" for kind in ("binary", "large_binary", "fixed_size_b"))


class _TableSource(ABC):
    """Files of rows `image: {bytes, path}` and `label`; a key is `FILE:ROW`.

    Where no column is called `image`, the only one of that type is taken. Labels are those of the
    column `label`, else of `label_column`; without one no image has a class. Names of files or
    folders may tell splits apart (`parts_of`).
    """

    kind: str
    suffix: str

    def __init__(self, path: str | Path, label: str = "") -> None:
        self.path, self.label, parts = str(path), label, parts_of(path, self.suffix)
        self.files = {part.name: part.place for part in parts}
        if not parts:
            raise SourceError(f"data.path {path} holds no *{self.suffix} files")
        self.rows: list[Row] = []
        self.classes: list[str] = []
        self.left_out: dict[str, int] = {}
        self.columns: dict[str, str] = {}  # of images, by file: they may differ
        listed: list[list[int | str | None]] = []
        for part in parts:
            try:
                schema, labels = self._list(part.place)
                self.columns[part.name] = _image_column(schema)
                listed.append(labels)
            except SourceError:
                raise
            except Exception as error:  # whatever a file from elsewhere causes
                raise SourceError(
                    f"{part.place} is not image {self.kind} (columns image, label): "
                    f"{first_line(error)}"
                ) from error
            column = self._label_of(schema)
            self.classes = self.classes or _class_names(schema.metadata, column)
        for part, ids in zip(parts, self._ids(listed, path), strict=True):
            self.rows += [Row(f"{part.name}:{n}", i, part.split) for n, i in enumerate(ids)]
        if not self.rows:
            raise SourceError(f"data.path {path} holds no images")
        require_images(self.rows, (part.split for part in parts), path)
        top = max(row.label for row in self.rows)
        if top >= len(self.classes):
            raise SourceError(f"{path} has label {top} but {len(self.classes)} class names")

    def _ids(self, listed: list[list[int | str | None]], path: object) -> list[list[int]]:
        """Class ids of the labels of each file; sets the names of classes without names."""
        every = [label for labels in listed for label in labels]
        if any(isinstance(label, str) for label in every):
            texts = [None if label is None else str(label) for label in every]
            self.classes, ids = label_ids(texts, path)
        else:
            ids = [-1 if label is None else int(label) for label in every]
            names = number_names(ids, path)
            self.classes = self.classes or names
        rest = iter(ids)
        return [[next(rest) for _ in labels] for labels in listed]

    def _label_of(self, schema: Any) -> str | None:
        """The column of labels."""
        return label_column(schema.names, self.label, self.path)

    @abstractmethod
    def _list(self, file: Place) -> tuple[Any, list[int | str | None]]:
        """The schema of a file and its labels."""

    @abstractmethod
    def _read_file(self, name: str, keys: list[str]) -> Iterator[bytes | OSError]:
        """The images of keys of one file, in turn."""

    def read(self, keys: Sequence[str]) -> Iterator[bytes | OSError]:
        """Rows of the files; each file is opened once, in whatever order the keys come."""
        return read_grouped(keys, lambda key: key.rpartition(":")[0], self._read_file)

    def fingerprint(self) -> str:
        """Over file names and sizes and the number of rows."""
        sizes = [f"{name}\t{file.size()}" for name, file in self.files.items()]
        return digest([*sizes, str(len(self.rows))])


class ParquetSource(_TableSource):
    """Hugging Face image Parquet, file or folder."""

    kind, suffix = "Parquet", ".parquet"

    def _list(self, file: Place) -> tuple[Any, list[int | str | None]]:
        with parquet_bytes(file) as reader:
            schema = reader.schema_arrow
            if (column := self._label_of(schema)) is None:
                return schema, [None] * int(reader.metadata.num_rows)
            return schema, _labels(reader.read(columns=[column])[column])

    def _read_file(self, name: str, keys: list[str]) -> Iterator[bytes | OSError]:
        """Rows of a file; each row group that holds some is read once, its image bytes only."""
        column = self.columns[name]
        with parquet_bytes(self.files[name]) as reader:
            first_rows = _first_rows(reader)

            def read_group(group: int, own: list[str]) -> list[bytes | OSError]:
                with damage_of(own) as found:
                    table = reader.read_row_group(group, columns=[f"{column}.bytes"])
                    rows = [_row(key) - first_rows[group] for key in own]
                    found[:] = _bytes(table[column], rows)
                return found

            yield from read_grouped(
                keys, lambda key: bisect_right(first_rows, _row(key)) - 1, read_group
            )


class ArrowSource(_TableSource):
    """Arrow files as `datasets` saves them (`save_to_disk`, its cache), file or folder."""

    kind, suffix = "Arrow", ".arrow"

    def _list(self, file: Place) -> tuple[Any, list[int | str | None]]:
        table = _open_arrow(file)
        table.validate(full=True)  # a wrong offset would be followed out of the file
        if (column := self._label_of(table.schema)) is None:
            return table.schema, [None] * len(table)
        return table.schema, _labels(table[column])

    def _read_file(self, name: str, keys: list[str]) -> Iterator[bytes | OSError]:
        """Rows of a memory-mapped file, one at a time: a set of them may be larger than memory."""
        column = _open_arrow(self.files[name])[self.columns[name]]
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


def parquet_bytes(file: Place) -> Any:
    """A reader of a Parquet file, which closes what it opened."""
    import pyarrow.parquet as pq

    return pq.ParquetFile(file.root) if file.is_local else pq.ParquetFile(file.open())


def _open_arrow(file: Place) -> Any:
    """The table of an Arrow file of either kind, stream or random access.

    A file on a disk is mapped, not copied; a remote one is read whole.
    """
    import pyarrow as pa

    with pa.memory_map(file.root) if file.is_local else pa.BufferReader(file.read()) as source:
        if source.read(6) == b"ARROW1":
            return pa.ipc.open_file(source).read_all()
        source.seek(0)
        return pa.ipc.open_stream(source).read_all()


def _class_names(metadata: dict[bytes, bytes] | None, column: str | None) -> list[str]:
    """Names of the classes from the Hugging Face features in a Parquet schema, if any."""
    import json

    try:
        features = json.loads((metadata or {})[b"huggingface"])["info"]["features"]
        return [str(name) for name in features[column]["names"]]
    except (KeyError, ValueError, TypeError):
        return []


def _labels(column: Any) -> list[int | str | None]:
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


def _image_column(schema: Any) -> str:
    """`image`, or else the only column of type {bytes, path}; KeyError when there is none."""
    found = [field.name for field in schema if str(field.type).startswith(IMAGE_TYPES)]
    if "image" not in found and len(found) != 1:
        raise KeyError(f"no image column among {', '.join(schema.names)}")
    return "image" if "image" in found else str(found[0])


def _first_rows(reader: Any) -> list[int]:
    """The first row of each row group."""
    metadata = reader.metadata
    counts = [metadata.row_group(group).num_rows for group in range(metadata.num_row_groups)]
    return list(accumulate(counts[:-1], initial=0))
