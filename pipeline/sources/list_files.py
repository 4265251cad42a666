"""Files that list images, as entries: CSV, TSV, JSON, JSON lines, Parquet, also packed by gzip."""

import csv
import gzip
import io
import json
from collections.abc import Iterator
from typing import Any

from pipeline.sources.place import Place

SEPARATORS = {".csv": ",", ".tsv": "\t"}
LINES = (".jsonl", ".ndjson")
SUFFIXES = (*SEPARATORS, *LINES, ".json", ".parquet")

Entry = dict[str, Any]


def is_list(name: str) -> bool:
    """Whether a file of this name may list images (a Parquet file may also hold them)."""
    return name.lower().removesuffix(".gz").endswith(SUFFIXES)


def list_entries(file: Place) -> Iterator[tuple[int, Entry]]:
    """Number (of the line, where there are lines) and content of each entry.

    Names of columns are stripped and lowered. OSError or ValueError for what is no such list.
    """
    name, data = file.name.lower(), file.read()
    if name.endswith(".gz"):
        name, data = name.removesuffix(".gz"), _unpacked(data)
    suffix = next((suffix for suffix in SUFFIXES if name.endswith(suffix)), None)
    if suffix is None:
        raise ValueError(f"its name must end in one of {', '.join(SUFFIXES)}")
    if suffix == ".parquet":
        found = _parquet(data)
    else:
        text = io.StringIO(data.decode("utf-8-sig"), newline="")
        found = (
            _separated(text, SEPARATORS[suffix])
            if suffix in SEPARATORS
            else _json_lines(text)
            if suffix in LINES
            else _json(text)
        )
    for number, entry in found:
        yield number, {str(key).strip().lower(): value for key, value in entry.items()}


def _unpacked(data: bytes) -> bytes:
    try:
        return gzip.decompress(data)
    except EOFError as error:
        raise ValueError("it is cut short") from error


def _separated(text: io.StringIO, separator: str) -> Iterator[tuple[int, Entry]]:
    reader = csv.DictReader(text, delimiter=separator, skipinitialspace=True, restkey="")
    for entry in reader:
        yield reader.line_num, entry


def _json_lines(text: io.StringIO) -> Iterator[tuple[int, Entry]]:
    for number, line in enumerate(text, 1):
        if line.strip():
            yield number, _object(json.loads(line), number)


def _json(text: io.StringIO) -> Iterator[tuple[int, Entry]]:
    """A list of objects, or of paths."""
    listed = json.load(text)
    if not isinstance(listed, list):
        raise ValueError("it is no JSON list")
    for number, entry in enumerate(listed, 1):
        yield number, {"path": entry} if isinstance(entry, str) else _object(entry, number)


def _object(entry: Any, number: int) -> Entry:
    if not isinstance(entry, dict):
        raise ValueError(f"line {number} is no object")
    return entry


def _parquet(data: bytes) -> Iterator[tuple[int, Entry]]:
    """Every column but nested ones, which hold no path."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    file = pq.ParquetFile(pa.BufferReader(data))
    flat = [field.name for field in file.schema_arrow if not pa.types.is_nested(field.type)]
    start = 1
    for batch in file.iter_batches(columns=flat):
        yield from enumerate(batch.to_pylist(), start)
        start += len(batch)
