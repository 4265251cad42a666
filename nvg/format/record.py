"""Commit records: what a chunk is, once it is complete (docs/FORMAT.md)."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from nvg.config import build
from nvg.files import json_bytes, parse_json

SHA256 = re.compile(r"[0-9a-f]{64}")
INDEX = "index_rows"  # the checksum of the chunk's index rows; records from before have none
OLD_INDEX = "index"  # the same as JSON, of stores of a few days; it is not compared


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

    def to_table(self) -> dict[str, Any]:
        """As JSON has it."""
        table = {"chunk": self.chunk, "rows": list(self.rows), "errors": self.errors}
        return {**table, "sha256": self.sha256}

    def to_bytes(self) -> bytes:
        """The file."""
        return json_bytes(self.to_table())

    @staticmethod
    def from_bytes(
        data: bytes, chunk: int, rows: slice, arrays: tuple[str, ...], name: str = ""
    ) -> "CommitRecord":
        """The record of a chunk that has these rows and arrays; ValueError names what is wrong.

        It is said of the file of that name, by default the chunk's own. A field that this version
        does not know is left aside.
        """
        name = name or record_name(chunk)
        return CommitRecord.from_json(_parsed(data, name), chunk, rows, arrays, name)

    @staticmethod
    def from_json(
        value: Any, chunk: int, rows: slice, arrays: tuple[str, ...], name: str
    ) -> "CommitRecord":
        """The same of what JSON says in the file of that name."""
        table = _object(value, name)
        try:
            known = {key: table[key] for key in CommitRecord.__dataclass_fields__ if key in table}
            record = build(CommitRecord, known)
            if record.chunk != chunk:
                raise ValueError(f"chunk must be {chunk}, not {record.chunk}")
            if record.rows != (rows.start, rows.stop):
                raise ValueError(f"rows must be {[rows.start, rows.stop]}, not {list(record.rows)}")
            if extra := sorted(record.sha256.keys() - {*arrays, INDEX, OLD_INDEX}):
                raise ValueError(f"sha256.{extra[0][:80]} is of no array of the store")
            if lost := [array for array in arrays if array not in record.sha256]:
                raise ValueError(f"sha256.{lost[0]} is missing")
        except ValueError as error:
            raise ValueError(f"{name}: {str(error).removeprefix('recipe: ')}") from error
        return record


def shard_bytes(shard: int, records: Sequence[CommitRecord]) -> bytes:
    """The record of a shard: those of its chunks."""
    return json_bytes({"shard": shard, "chunks": [record.to_table() for record in records]})


def read_shard(
    data: bytes, shard: int, rows: Mapping[int, slice], arrays: tuple[str, ...]
) -> dict[int, CommitRecord | str]:
    """The records of a shard whose chunks have these rows, each or what is wrong with it.

    All at once: between chunks that are decoded one takes five times as long. A chunk that the file
    lacks is left out. ValueError for the file of another shard, or none.
    """
    name = record_name(shard)
    table = _object(_parsed(data, name), name)
    values = table.get("chunks")
    if table.get("shard") != shard:
        raise ValueError(f"{name}: shard must be {shard}, not {str(table.get('shard'))[:80]}")
    if not isinstance(values, list):
        raise ValueError(f"{name}: it has no list of chunks")
    found: dict[int, CommitRecord | str] = {}
    for (chunk, own), value in zip(rows.items(), values, strict=False):
        try:
            found[chunk] = CommitRecord.from_json(value, chunk, own, arrays, name)
        except ValueError as error:
            found[chunk] = str(error)
    return found


def _parsed(data: bytes, name: str) -> Any:
    try:
        return parse_json(data)
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from None


def _object(value: Any, name: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ValueError(f"{name}: it is no JSON object")
    return value


def record_name(number: int) -> str:
    """Where the record of a chunk is, or that of a shard."""
    return f"commits/{number:05d}.json"
