"""Recipe -> deterministic list of chunk tasks, and the manifest they fill. Pure but for listing."""

import hashlib
from dataclasses import dataclass, replace

import pyarrow as pa

from nvg.store import Split, Store, StoreWriter, open_store, store_exists
from nvg.store.format import ORDER, StoreError, parquet_bytes, read_parquet
from nvg.store.index import with_split
from pipeline.sources import Row, Source, split_rows


@dataclass(frozen=True)
class Plan:
    """Which images become the rows of a store, in which order, and the names of their classes."""

    rows: list[Row]
    classes: list[str]
    is_extended: bool = False

    @property
    def val_rows(self) -> int:
        """How many of the rows are held out."""
        return sum(row.split is Split.VAL for row in self.rows)


@dataclass(frozen=True)
class ChunkTask:
    """One chunk: which rows of the store it fills, from which images."""

    chunk: int
    start: int
    rows: tuple[Row, ...]
    isolated: bool = False
    """Whether its images are decoded in a process of their own: one of them may end it."""


def plan_chunks(rows: list[Row], chunk_rows: int) -> list[ChunkTask]:
    """Consecutive runs of `chunk_rows` rows, in order; the last may be shorter."""
    return [
        ChunkTask(chunk, start, tuple(rows[start : start + chunk_rows]))
        for chunk, start in enumerate(range(0, len(rows), chunk_rows))
    ]


def plan_rows(heldout: int, source: Source, out: str = "") -> Plan:
    """The rows to train on, then the held-out ones; or the rows of an extended store at `out`.

    A store at `out` that was begun without its held-out rows goes on without them.
    """
    train, val = split_rows(source.rows, heldout)
    if out and store_exists(out):
        store = open_store(out)
        if store.manifest.order:
            return Plan(_stored_order(store), list(store.manifest.classes), is_extended=True)
        if heldout and not store.manifest.val_rows:
            val = []
    return Plan(train + [replace(row, split=Split.VAL) for row in val], source.classes)


def order_bytes(rows: list[Row]) -> bytes:
    """The file that keeps the order of an extended store's rows."""
    columns = {
        "key": [row.key for row in rows],
        "label": pa.array([row.label for row in rows], pa.int32()),
    }
    if any(row.split is Split.VAL for row in rows):
        columns["split"] = [row.split.value for row in rows]
    table = pa.table(columns)
    return parquet_bytes([table], table.schema)


def restore_order(store: StoreWriter, plan: Plan) -> None:
    """Write the rows of an extended store again where their list is lost."""
    if plan.is_extended and not store.is_intact(ORDER):
        store.write(ORDER, order_bytes(plan.rows))


def _stored_order(store: Store) -> list[Row]:
    """The rows of an extended store; a lost list is found in the index of a finished one."""
    if store.is_intact(ORDER):
        return rows_of(read_parquet(store.read(ORDER)))
    if store.finished:
        rows = rows_of(store.index)
        if hashlib.sha256(order_bytes(rows)).hexdigest() == store.manifest.order:
            return rows
    raise StoreError(f"{store.path} has lost its {ORDER}, the order of its rows: tokenize again")


def rows_of(table: pa.Table) -> list[Row]:
    """The rows that an index, or the order of an extended store, lists."""
    names = ("key", "label", "split")
    columns = (with_split(table)[name].to_pylist() for name in names)
    return [Row(key, label, Split(split)) for key, label, split in zip(*columns, strict=True)]
