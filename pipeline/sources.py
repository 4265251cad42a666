"""Where images come from: list rows deterministically, read the bytes of some."""

import hashlib
import io
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from nvg.errors import InputError
from pipeline.recipe import DataConfig, SourceKind

SUFFIXES = {".jpg", ".jpeg", ".png", ".bmp", ".webp", ".gif", ".tif", ".tiff"}


class SourceError(InputError):
    """A source that cannot be used; the message names the path and the remedy."""


@dataclass(frozen=True, slots=True)
class Row:
    """One image of a source: a key that finds it again, and its class id."""

    key: str
    label: int


class Source(Protocol):
    """Images with class names; `rows` is the same list every time for the same files."""

    classes: list[str]
    rows: list[Row]

    def read(self, keys: Sequence[str]) -> Iterator[bytes | OSError]:
        """The file bytes of each key in turn; an error in place of what cannot be read."""

    def fingerprint(self) -> str:
        """SHA-256 over what the source holds, to notice that it has changed."""


def open_source(config: DataConfig) -> Source:
    """The source a recipe names. SourceError when it is missing or empty."""
    if config.source is SourceKind.DIGITS:
        return DigitsSource()
    if not config.path:
        raise SourceError(f"data.path is missing: a {config.source.value} source needs one")
    path = Path(config.path).expanduser().absolute()  # workers may stand elsewhere
    if not path.exists():
        raise SourceError(f"data.path {config.path} does not exist")
    return FolderSource(path) if config.source is SourceKind.FOLDER else ParquetSource(path)


class FolderSource:
    """An image folder with one directory per class; the class is the first directory's name."""

    def __init__(self, root: Path) -> None:
        if not root.is_dir():
            raise SourceError(f"data.path {root} is not a directory of class directories")
        self.root = root
        self.classes = sorted(entry.name for entry in os.scandir(root) if entry.is_dir())
        self.rows = [
            Row(f"{name}/{key}", label)
            for label, name in enumerate(self.classes)
            for key in sorted(_images_below(root / name))
        ]
        for row in self.rows:
            if not row.key.isascii() and row.key.encode(errors="replace").decode() != row.key:
                raise SourceError(f"{root}: the name {row.key!a} is not UTF-8: rename it")
        if not self.rows:
            raise SourceError(
                f"data.path {root} holds no images: expected <class>/<image> with one of "
                f"{', '.join(sorted(SUFFIXES))}"
            )

    def read(self, keys: Sequence[str]) -> Iterator[bytes | OSError]:
        """One file each."""
        for key in keys:
            try:
                yield (self.root / key).read_bytes()
            except OSError as error:
                yield error

    def fingerprint(self) -> str:
        """Over keys and file sizes."""
        return digest(f"{row.key}\t{size_of(self.root / row.key)}" for row in self.rows)


class ParquetSource:
    """Hugging Face image Parquet, file or folder: `image: {bytes, path}` and `label`.

    Where no column is called `image`, the only one of that type is taken.
    """

    def __init__(self, path: Path) -> None:
        import pyarrow.parquet as pq

        self.files = sorted(path.glob("*.parquet")) if path.is_dir() else [path]
        if not self.files:
            raise SourceError(f"data.path {path} holds no *.parquet files")
        self.rows: list[Row] = []
        self.classes: list[str] = []
        for file in self.files:
            try:
                table = pq.read_table(file, columns=["label"])
                labels = _labels(table["label"])
                self.column = _image_column(pq.read_schema(file))
            except (OSError, ValueError, KeyError) as error:
                reason = str(error).splitlines()[0]
                raise SourceError(
                    f"{file} is not image Parquet (columns image, label): {reason}"
                ) from error
            self.classes = self.classes or _class_names(table.schema.metadata)
            self.rows += [Row(f"{file.name}:{n}", label) for n, label in enumerate(labels)]
        if not self.rows:
            raise SourceError(f"data.path {path} holds no images")
        top = max(row.label for row in self.rows)
        self.classes = self.classes or [str(n) for n in range(top + 1)]
        if top >= len(self.classes):
            raise SourceError(f"{path} has label {top} but {len(self.classes)} class names")

    def read(self, keys: Sequence[str]) -> Iterator[bytes | OSError]:
        """Rows of the row groups that hold the keys; each group is read once per call in order."""
        import pyarrow.parquet as pq

        by_name = {file.name: file for file in self.files}
        name, reader, first = "", None, 0
        images: list[dict[str, bytes] | None] = []
        for key in keys:
            wanted, _, number = key.rpartition(":")
            row = int(number)
            if wanted != name or reader is None:
                name, reader, images = wanted, pq.ParquetFile(by_name[wanted]), []
            if not first <= row < first + len(images):
                group, first = _row_group(reader, row)
                table = reader.read_row_group(group, columns=[self.column])
                images = table[self.column].to_pylist()
            data = (images[row - first] or {}).get("bytes")
            yield data if data is not None else OSError("the row holds no image bytes")

    def fingerprint(self) -> str:
        """Over file names and sizes and the number of rows."""
        sizes = [f"{file.name}\t{size_of(file)}" for file in self.files]
        return digest([*sizes, str(len(self.rows))])


class DigitsSource:
    """scikit-learn's bundled 8x8 scans of handwritten digits (1,797 of them), as PNG."""

    def __init__(self) -> None:
        try:
            from sklearn.datasets import load_digits
        except ModuleNotFoundError:
            raise SourceError(
                "the digits source needs scikit-learn: pip install 'nvg[demo]'"
            ) from None
        bunch = load_digits()
        self.images = bunch.images
        self.classes = [str(n) for n in range(10)]
        self.rows = [Row(f"digit-{n:04d}", int(label)) for n, label in enumerate(bunch.target)]

    def read(self, keys: Sequence[str]) -> Iterator[bytes | OSError]:
        """Grey levels 0..16 stretched to 0..255."""
        from PIL import Image

        for key in keys:
            grey = (self.images[int(key.removeprefix("digit-"))] * 255 / 16).round()
            buffer = io.BytesIO()
            Image.fromarray(grey.astype("uint8")).save(buffer, "png")
            yield buffer.getvalue()

    def fingerprint(self) -> str:
        """Over the pixels."""
        return hashlib.sha256(self.images.tobytes()).hexdigest()


def split_rows(rows: list[Row], heldout: int) -> tuple[list[Row], list[Row]]:
    """(rows to train on and tokenize, rows kept aside): every n-th row is kept aside."""
    if heldout == 0:
        return rows, []
    if not 0 < heldout <= len(rows) // 2:
        raise SourceError(f"data.heldout {heldout} must be 0..{len(rows) // 2}, half of the images")
    kept = {n * len(rows) // heldout for n in range(heldout)}
    train = [row for n, row in enumerate(rows) if n not in kept]
    return train, [rows[n] for n in sorted(kept)]


def _images_below(directory: Path) -> Iterator[str]:
    for parent, directories, files in os.walk(directory):
        directories.sort()
        for file in files:
            if os.path.splitext(file)[1].lower() in SUFFIXES:
                yield Path(parent, file).relative_to(directory).as_posix()


def _class_names(metadata: dict[bytes, bytes] | None) -> list[str]:
    """Names of the classes from the Hugging Face features in a Parquet schema, if any."""
    import json

    try:
        features = json.loads((metadata or {})[b"huggingface"])["info"]["features"]
        return [str(name) for name in features["label"]["names"]]
    except (KeyError, ValueError, TypeError):
        return []


def _labels(column: Any) -> list[int]:
    """Class ids of a column of integers, -1 where there is none; ValueError for other types."""
    import pyarrow as pa

    if not pa.types.is_integer(column.type):
        raise ValueError(f"label has type {column.type}, not an integer")
    return [-1 if label is None else label for label in column.to_pylist()]


def _image_column(schema: Any) -> str:
    """`image`, or else the only column of type {bytes, path}; KeyError when there is none."""
    found = [field.name for field in schema if str(field.type).startswith("struct<bytes: ")]
    if "image" not in found and len(found) != 1:
        raise KeyError(f"no image column among {', '.join(schema.names)}")
    return "image" if "image" in found else str(found[0])


def _row_group(reader: Any, row: int) -> tuple[int, int]:
    """(row group that holds a row, its first row)."""
    metadata = reader.metadata
    first = 0
    for group in range(metadata.num_row_groups):
        count = metadata.row_group(group).num_rows
        if row < first + count:
            return group, first
        first += count
    raise IndexError(row)


def size_of(path: Path) -> int:
    """Bytes of a file, -1 where there is none."""
    try:
        return path.stat().st_size
    except OSError:
        return -1


def digest(lines: Iterable[str]) -> str:
    """SHA-256 over lines."""
    state = hashlib.sha256()
    for line in lines:
        state.update(line.encode() + b"\n")
    return state.hexdigest()
