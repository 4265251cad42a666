"""Commit records: what a chunk is, once it is complete (docs/FORMAT.md)."""

import json
import re
from dataclasses import dataclass
from typing import Any

from nvg.config import build
from nvg.files import json_bytes

NAME = re.compile(r"(\d{5,})\.json")
"""Of a record; other files in the folder, as copying tools leave them, are none."""
SHA256 = re.compile(r"[0-9a-f]{64}")
INDEX = "index"  # the checksum of the chunk's index rows; records from before have none


@dataclass(frozen=True, kw_only=True)
class CommitRecord:
    """One complete chunk."""

    chunk: int
    rows: tuple[int, ...]
    """First row, and the one after the last."""
    errors: int
    sha256: dict[str, Any]
    """Of the bytes of each array, by its name, and of the index rows."""

    def __post_init__(self) -> None:
        if len(self.rows) != 2:
            raise ValueError(f"rows must be [first, end], not {list(self.rows)}")
        if not 0 <= self.errors <= self.rows[1] - self.rows[0]:
            raise ValueError(f"errors must be 0..{self.rows[1] - self.rows[0]}, not {self.errors}")
        for name, checksum in self.sha256.items():
            if not isinstance(checksum, str) or not SHA256.fullmatch(checksum):
                raise ValueError(f"sha256.{name[:80]} must be 64 hexadecimal digits")

    def to_bytes(self) -> bytes:
        """The file."""
        table = {"chunk": self.chunk, "rows": list(self.rows), "errors": self.errors}
        return json_bytes({**table, "sha256": self.sha256})

    @staticmethod
    def from_bytes(data: bytes, chunk: int, rows: slice, arrays: tuple[str, ...]) -> "CommitRecord":
        """The record of a chunk that has these rows and arrays; ValueError names what is wrong.

        A field that this version does not know is left aside.
        """
        name = record_name(chunk)
        try:
            table = _object(data)
            known = {key: table[key] for key in CommitRecord.__dataclass_fields__ if key in table}
            record = build(CommitRecord, known)
            if record.chunk != chunk:
                raise ValueError(f"chunk must be {chunk}, not {record.chunk}")
            if record.rows != (rows.start, rows.stop):
                raise ValueError(f"rows must be {[rows.start, rows.stop]}, not {list(record.rows)}")
            if extra := sorted(record.sha256.keys() - {*arrays, INDEX}):
                raise ValueError(f"sha256.{extra[0][:80]} is of no array of the store")
            if lost := [array for array in arrays if array not in record.sha256]:
                raise ValueError(f"sha256.{lost[0]} is missing")
        except ValueError as error:
            raise ValueError(f"{name}: {str(error).removeprefix('recipe: ')}") from error
        return record


def _object(data: bytes) -> dict[str, Any]:
    """A JSON object; ValueError for anything else."""
    try:
        table = json.loads(data)
    except (ValueError, RecursionError):
        raise ValueError("it is not JSON") from None
    if not isinstance(table, dict):
        raise ValueError("it is no JSON object")
    return table


def record_name(chunk: int) -> str:
    """Where the record of a chunk is."""
    return f"commits/{chunk:05d}.json"
