"""Commit records: what a chunk is, once it is complete (docs/FORMAT.md)."""

import json
import re
from collections.abc import Sequence
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
        table = _object(data, name)
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


def read_shard(data: bytes, shard: int) -> list[bytes]:
    """What the record of a shard says of each of its chunks, as JSON; ValueError for another."""
    name = record_name(shard)
    table = _object(data, name)
    found = table.get("chunks")
    if table.get("shard") != shard:
        raise ValueError(f"{name}: shard must be {shard}, not {str(table.get('shard'))[:80]}")
    if not isinstance(found, list):
        raise ValueError(f"{name}: it has no list of chunks")
    return [json.dumps(each).encode() for each in found]


def _object(data: bytes, name: str) -> dict[str, Any]:
    """A JSON object; ValueError for anything else."""
    try:
        table = parse_json(data)
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from None
    if not isinstance(table, dict):
        raise ValueError(f"{name}: it is no JSON object")
    return table


def record_name(number: int) -> str:
    """Where the record of a chunk is, or that of a shard."""
    return f"commits/{number:05d}.json"
