"""Recipe -> deterministic list of chunk tasks, and the manifest they fill. Pure but for listing."""

import hashlib
from dataclasses import dataclass

import pyarrow as pa

from nvg.store import Store, StoreWriter, open_store, store_exists
from nvg.store.format import ORDER, StoreError, parquet_bytes, read_parquet
from pipeline.sources import Row, Source, split_rows


@dataclass(frozen=True)
class Plan:
    """Which images become the rows of a store, in which order, and the names of their classes."""

    rows: list[Row]
    classes: list[str]
    is_extended: bool = False


@dataclass(frozen=True)
class ChunkTask:
    """One chunk: which rows of the store it fills, from which images."""

    chunk: int
    start: int
    rows: tuple[Row, ...]


def plan_chunks(rows: list[Row], chunk_rows: int) -> list[ChunkTask]:
    """Consecutive runs of `chunk_rows` rows, in order; the last may be shorter."""
    return [
        ChunkTask(chunk, start, tuple(rows[start : start + chunk_rows]))
        for chunk, start in enumerate(range(0, len(rows), chunk_rows))
    ]


def plan_rows(heldout: int, source: Source, out: str = "") -> Plan:
    """All rows but `heldout` of them, or the rows of an extended store at `out`."""
    if out and store_exists(out) and (store := open_store(out)).manifest.order:
        return Plan(_stored_order(store), list(store.manifest.classes), is_extended=True)
    return Plan(split_rows(source.rows, heldout)[0], source.classes)


def order_bytes(rows: list[Row]) -> bytes:
    """The file that keeps the order of an extended store's rows."""
    table = pa.table(
        {"key": [row.key for row in rows], "label": pa.array([r.label for r in rows], pa.int32())}
    )
    return parquet_bytes([table], table.schema)


def restore_order(store: StoreWriter, plan: Plan) -> None:
    """Write the rows of an extended store again where their list is lost."""
    if plan.is_extended and not store.is_intact(ORDER):
        store.write(ORDER, order_bytes(plan.rows))


def _stored_order(store: Store) -> list[Row]:
    """The rows of an extended store; a lost list is found in the index of a finished one."""
    if store.is_intact(ORDER):
        return _rows(read_parquet(store.read(ORDER)))
    if store.finished:
        rows = _rows(store.index)
        if hashlib.sha256(order_bytes(rows)).hexdigest() == store.manifest.order:
            return rows
    raise StoreError(f"{store.path} has lost its {ORDER}, the order of its rows: tokenize again")


def _rows(table: pa.Table) -> list[Row]:
    pairs = zip(table["key"].to_pylist(), table["label"].to_pylist(), strict=True)
    return [Row(key, label) for key, label in pairs]
