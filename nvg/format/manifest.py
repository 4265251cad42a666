"""`manifest.json`: what a store is and what made it, as a frozen record (docs/FORMAT.md)."""

import dataclasses
import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from nvg.choices import ChildOrder
from nvg.config import ConfigError, as_table, build, require_positive
from nvg.files import json_bytes, parse_json
from nvg.format.base import (
    COUNTS,
    FORMAT,
    INDEX_FILE,
    LINKED,
    ORDER,
    VERSIONS,
    StoreError,
)
from nvg.geometry import Geometry
from nvg.parts.part import SHA256, Part

MOST_BYTES = 1 << 26  # of the file
MOST_ROWS = 1 << 32
MOST_PARTS = 1 << 16  # of a linked store
MOST_CHUNK_BYTES = 1 << 32  # that one chunk may take in memory
STATE = (
    *("format", "version", "finished", "errors", "weights", "versions", "counts"),
    *("unknown", "sha256", "shard_rows"),
)
PLAIN_NAME = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9_.-]*")
"""Of a file directly in the store: a manifest from elsewhere must not name any other."""
SHARD_ROWS = 1 << 16
SHARD_BYTES = 1 << 29  # of all arrays in memory, where a shard is made
SHAPE = (
    *("tokenizer", "grid", "K", "codebook_size", "latent_dim", "builder", "space_weight"),
    *("child_order", "views", "image_size", "preprocessing"),
)
"""Fields in which stores agree whose rows are those of one store."""
WRITTEN = ("finished", "errors", "weights")  # have defaults here, and are in every file
"""Fields that may differ between two passes of the same recipe over the same images."""


@dataclass(frozen=True, kw_only=True)
class FeatureInfo:
    """Which features a store keeps beside its tokens."""

    model: str
    sha256: str
    """Of the model's weights file."""
    dims: int
    """Stored components, a byte each."""
    width: int
    """Channels of the features themselves."""
    kept: float
    """Fraction of their variance that the components keep."""


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """Every field of `manifest.json`, in the order in which two manifests are compared."""

    grid: int
    K: int
    codebook_size: int
    latent_dim: int
    builder: str
    space_weight: float | None = None
    """Of the builder `greedy+space` only."""
    child_order: ChildOrder | None = None
    """None: by position."""
    rows: int
    val_rows: int = 0
    """Held out of these; written only where there are some."""
    chunk_rows: int
    shard_rows: int | None = None
    """Of a store of version 2: a multiple of `chunk_rows`."""
    views: tuple[str, ...]
    image_size: int
    preprocessing: str
    classes: tuple[str, ...]
    order: str | None = None
    """SHA-256 of `rows.parquet`, of an extended store only."""
    parts: tuple[Part, ...] | None = None
    """The stores whose rows a linked store shows; None: the rows are its own."""
    index: str | None = None
    """SHA-256 of `index.parquet`, of a linked store only."""
    source: str
    tokenizer: str
    features: FeatureInfo | None = None
    counts: str | None = None
    """SHA-256 of `chunks.parquet`, of a finished store of version 2."""
    recipe: dict[str, Any]
    versions: dict[str, Any]
    format: str = FORMAT
    version: int = 1
    finished: bool = False
    errors: int = 0
    weights: dict[str, Any] = field(default_factory=dict)
    """SHA-256 by file name."""
    sha256: dict[str, Any] | None = None
    """SHA-256 of each field's JSON; None in a store from before there were any."""
    unknown: dict[str, Any] = field(default_factory=dict)
    """Fields of the file that this version does not know; they are written back as they are."""

    def __post_init__(self) -> None:
        require_positive(self, "chunk_rows", "codebook_size", "latent_dim", "image_size")
        for name, most in (("grid", 256), ("codebook_size", 65536), ("rows", MOST_ROWS)):
            if getattr(self, name) > most:
                raise ValueError(f"{name} must be at most {most}, not {getattr(self, name)}")
        if self.chunk_rows * len(self.views) * 8 * self.grid**2 > MOST_CHUNK_BYTES:
            raise ValueError(f"chunk_rows {self.chunk_rows} would take over {MOST_CHUNK_BYTES} B")
        if (self.version == 2 and self.format == FORMAT) != (self.shard_rows is not None):
            raise ValueError(f"shard_rows belongs to version 2 of format {FORMAT}")
        if self.shard_rows is not None and (
            self.shard_rows < 1 or self.shard_rows % self.chunk_rows
        ):
            raise ValueError(
                f"shard_rows {self.shard_rows} must be a multiple of chunk_rows {self.chunk_rows}"
            )
        if self.counts is not None and self.shard_rows is None:
            raise ValueError("counts belongs to version 2")
        if self.rows < 0 or not self.views:
            raise ValueError(f"{self.rows} rows of {len(self.views)} views cannot be")
        if not 0 <= self.val_rows <= self.rows:
            raise ValueError(f"val_rows {self.val_rows} must be 0..{self.rows}")
        if not 0 <= self.errors <= self.rows:
            raise ValueError(f"errors {self.errors} must be 0..{self.rows}")
        if {self.parts is None, self.index is None} != {self.format != LINKED}:
            raise ValueError(f"parts and index belong to format {LINKED}, not {self.format}")
        if self.index is not None and not SHA256.fullmatch(self.index):
            raise ValueError("index must be 64 hexadecimal digits")
        if self.parts is not None and not 1 <= len(self.parts) <= MOST_PARTS:
            raise ValueError(f"parts must name 1..{MOST_PARTS} stores, not {len(self.parts)}")
        if not all(isinstance(digest, str) for digest in self.weights.values()):
            raise ValueError("weights must be SHA-256 sums by file name")
        for name in self.weights:
            if not PLAIN_NAME.fullmatch(name):
                raise ValueError(f"weights name {name[:80]!a}, which is no file of a store")

    def sharded(self) -> "Manifest":
        """The same as of a new store of version 2."""
        dims = self.features.dims if self.features else 0
        chunks = shard_chunks(Geometry(self.grid), len(self.views), dims, self.chunk_rows)
        return dataclasses.replace(self, version=2, shard_rows=chunks * self.chunk_rows)

    @property
    def checksums(self) -> dict[str, str]:
        """SHA-256 by name of every file that the manifest vouches for."""
        others = {ORDER: self.order, INDEX_FILE: self.index, COUNTS: self.counts}
        return {**self.weights, **{name: sum_ for name, sum_ in others.items() if sum_}}

    def differences(self, other: "Manifest", besides: Iterable[str] = ()) -> list[str]:
        """Names of the fields, neither STATE nor `besides`, in which `other` is another store."""
        names = [f.name for f in dataclasses.fields(self) if f.name not in {*STATE, *besides}]
        return [name for name in names if getattr(self, name) != getattr(other, name)]

    def shape_differences(self, other: "Manifest") -> list[str]:
        """Names of the fields in which the tokens of `other` cannot stand beside these."""
        return [name for name in SHAPE if getattr(self, name) != getattr(other, name)]

    def to_bytes(self) -> bytes:
        """The file; optional fields that are absent are left out."""
        return json_bytes(self._table())

    def sealed(self) -> "Manifest":
        """The same with a checksum of each field; those of fields it does not know are kept."""
        table = self._table()
        theirs = table.pop("sha256", {})
        kept = {name: theirs[name] for name in self.unknown if name in theirs}
        own = {name: _digest(table[name]) for name in table if name not in self.unknown}
        return dataclasses.replace(self, sha256={**kept, **own})

    def _table(self) -> dict[str, Any]:
        table = as_table(self)
        if not self.val_rows:
            del table["val_rows"]
        return {**table.pop("unknown"), **table}

    @staticmethod
    def from_bytes(data: bytes, path: str) -> "Manifest":
        """The manifest of the store at `path`; StoreError naming what is missing or wrong."""
        if len(data) > MOST_BYTES:
            raise StoreError(f"{path} is not a store: its manifest.json is over {MOST_BYTES} bytes")
        try:
            table = parse_json(data)
        except ValueError:
            raise StoreError(f"{path} is not a store: its manifest.json is not JSON") from None
        is_known = isinstance(table, dict) and table.get("format") in (FORMAT, LINKED)
        if not is_known or table.get("version") not in VERSIONS:
            raise StoreError(f"{path} is not a store of format {FORMAT} version 1 or 2")
        lost = [name for name in WRITTEN if name not in table]
        if lost:
            raise _damaged(path, f"missing key {lost[0]}")
        known = {f.name for f in dataclasses.fields(Manifest)} - {"unknown"}
        unknown = {name: table.pop(name) for name in table.keys() - known}
        try:
            manifest = build(Manifest, {**table, "unknown": unknown})
            geometry = Geometry(manifest.grid)
            if manifest.K != geometry.K:
                raise ValueError(f"K must be {geometry.K} for grid {manifest.grid}")
            _require_sums(manifest.sha256 or {}, {**table, **unknown})
        except (ConfigError, ValueError) as error:
            raise _damaged(path, str(error).removeprefix("recipe: ")) from None
        return manifest


def shard_chunks(geometry: Geometry, views: int, dims: int, chunk_rows: int) -> int:
    """How many chunks lie in a shard of a new store, with so many bytes of features a position."""
    leaf = np.dtype(geometry.leaf_name).itemsize
    each = views * (geometry.positions * (leaf + dims) + 2 * geometry.tokens)
    return max(min(SHARD_ROWS, SHARD_BYTES // each) // chunk_rows, 1)


def _digest(value: Any) -> str:
    """SHA-256 of a value of JSON."""
    return hashlib.sha256(json_bytes(value)).hexdigest()


def _require_sums(wanted: dict[str, Any], table: dict[str, Any]) -> None:
    """ValueError naming a field that is not what was written."""
    for name, checksum in wanted.items():
        if name not in table:
            raise ValueError(f"missing key {name[:80]!a}")
        if _digest(table[name]) != checksum:
            raise ValueError(f"{name} does not match its checksum")


def _damaged(path: str, reason: str) -> StoreError:
    return StoreError(
        f"{path} has a damaged manifest.json ({reason}): restore it from a copy, or tokenize again"
    )
