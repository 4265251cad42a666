"""Files that list images, as entries: CSV, TSV, JSON, JSON lines, Parquet, also packed by gzip."""

import codecs
import csv
import gzip
import io
import json
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from itertools import accumulate, count
from typing import Any, BinaryIO

from nvg.files import require_regular
from pipeline.sources.place import Place

SEPARATORS = {".csv": (",", ";", "\t"), ".tsv": ("\t",)}
"""The first that the header has; spreadsheets write semicolons where the comma is a decimal's."""
LINES = (".jsonl", ".ndjson")
SUFFIXES = (*SEPARATORS, *LINES, ".json", ".parquet")

Entry = dict[str, Any]
Found = Iterator[tuple[int, int, Entry]]
"""Place, number and content of each entry."""


def is_list(name: str) -> bool:
    """Whether a file of this name may list images (a Parquet file may also hold them)."""
    return name.lower().removesuffix(".gz").endswith(SUFFIXES)


def is_whole(name: str) -> bool:
    """Whether a list of this name is read from its beginning only: packed, or one JSON value."""
    return name.lower().endswith((".gz", ".json"))


def list_entries(file: Place, place: int = 0) -> Found:
    """Place, number (of the line, where there are lines) and content of each entry.

    With the `place` of an entry, a byte of a text or a row of a table, the list is read from there
    on, and numbers count from there; places are all 0 where `is_whole`. Names of columns are
    stripped and lowered. OSError or ValueError for what is no such list.
    """
    name, whole = file.name.lower(), is_whole(file.name)
    suffix = next((s for s in SUFFIXES if name.removesuffix(".gz").endswith(s)), None)
    if suffix is None:
        raise ValueError(f"its name must end in one of {', '.join(SUFFIXES)}")
    if file.is_local:
        require_regular(file.root)
    data = file.read() if whole else b""
    packed = _unpacked(data) if name.endswith(".gz") else data
    with io.BytesIO(packed) if whole else file.open() as stream:
        for at, number, entry in _found(stream, suffix, place):
            content = {str(key).strip().lower(): value for key, value in entry.items()}
            yield 0 if whole else at, number, content


def _found(stream: BinaryIO, suffix: str, place: int) -> Found:
    if suffix == ".parquet":
        return _parquet(stream, place)
    if suffix in SEPARATORS:
        return _separated(stream, SEPARATORS[suffix], place)
    return _json_lines(stream, place) if suffix in LINES else _json(stream)


class _Lines:
    """Lines of a text from a byte on, and the byte that follows those which were read."""

    def __init__(self, stream: BinaryIO, place: int = 0) -> None:
        stream.seek(0)
        bom = codecs.BOM_UTF8
        self.place = place or len(bom) * (stream.read(len(bom)) == bom)
        stream.seek(self.place)
        self.text = io.TextIOWrapper(stream, "utf-8", newline="")

    def __enter__(self) -> "_Lines":
        return self

    def __exit__(self, *_: object) -> None:
        self.text.detach()  # else it would close the stream, which is another's

    def __iter__(self) -> "_Lines":
        return self

    def __next__(self) -> str:
        line = next(self.text)
        self.place += len(line.encode())
        return line


def _unpacked(data: bytes) -> bytes:
    try:
        return gzip.decompress(data)
    except EOFError as error:
        raise ValueError("it is cut short") from error


def _separated(stream: BinaryIO, known: Sequence[str], place: int) -> Found:
    with _Lines(stream) as lines:
        first = next(lines, "")
    separator = next((sign for sign in known if sign in first), known[0])
    options: dict[str, Any] = {"delimiter": separator, "skipinitialspace": True, "restkey": ""}
    header = None
    if place:
        with _Lines(stream) as lines:
            header = csv.DictReader(lines, **options).fieldnames
    with _Lines(stream, place) as lines:
        reader = csv.DictReader(lines, header, **options)
        while reader.fieldnames:  # which reads the header, before the first entry
            at = lines.place
            if (entry := next(reader, None)) is None:
                return
            yield at, reader.line_num, entry


def _json_lines(stream: BinaryIO, place: int) -> Found:
    with _Lines(stream, place) as lines:
        for number in count(1):
            at, line = lines.place, next(lines, None)
            if line is None:
                return
            if line.strip():
                yield at, number, _object(_parsed(line, f"line {number} is"), number)


def _json(stream: BinaryIO) -> Found:
    """A list of objects, or of paths."""
    listed = _parsed(stream.read().decode("utf-8-sig"), "it is")
    if not isinstance(listed, list):
        raise ValueError("it is no JSON list of paths, or of objects with a path")
    for number, entry in enumerate(listed, 1):
        yield 0, number, {"path": entry} if isinstance(entry, str) else _object(entry, number)


def _parsed(text: str, subject: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        raise ValueError(f"{subject} no JSON, or is cut short") from None


def _object(entry: Any, number: int) -> Entry:
    if not isinstance(entry, dict):
        raise ValueError(f"line {number} is no object")
    return entry


def _parquet(stream: BinaryIO, place: int) -> Found:
    """Every column but nested ones, which hold no path."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    file = pq.ParquetFile(stream)
    flat = [field.name for field in file.schema_arrow if not pa.types.is_nested(field.type)]
    counts = [file.metadata.row_group(n).num_rows for n in range(file.metadata.num_row_groups)]
    ends = list(accumulate(counts, initial=0))
    first = bisect_right(ends, place) - 1  # the row group that holds the place
    row = ends[first]
    for batch in file.iter_batches(row_groups=list(range(first, len(counts))), columns=flat):
        left = batch.slice(max(place - row, 0))
        yield from ((n, n + 1, entry) for n, entry in enumerate(left.to_pylist(), max(row, place)))
        row += len(batch)
