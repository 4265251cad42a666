"""Recipe -> deterministic list of chunk tasks, and the manifest they fill. Pure but for listing."""

import hashlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import overload

import pyarrow as pa

from nvg.format.base import ORDER, StoreError, parquet_bytes, read_parquet
from nvg.format.index import with_split
from nvg.seeding import permutation
from nvg.store import Split, Store, StoreWriter, open_store, store_exists
from pipeline.sources import Row, Rows, Source, split_rows

SHUFFLED = 64  # neighbouring rows that stay together
ORDER_BATCH = 1 << 16  # rows that are Python objects at once


@dataclass(frozen=True)
class Plan:
    """Which images become the rows of a store, in which order, and the names of their classes."""

    rows: Rows
    classes: list[str]
    is_extended: bool = False

    @property
    def val_rows(self) -> int:
        """How many of the rows are held out."""
        return len(self.rows.of_split(Split.VAL))


@dataclass(frozen=True)
class ChunkTask:
    """One chunk: which rows of the store it fills, from which images."""

    chunk: int
    start: int
    rows: Sequence[Row]
    """Listed by who goes through them."""
    isolated: bool = False
    """Whether its images are decoded in a process of their own: one of them may end it."""


@dataclass(frozen=True)
class Chunks(Sequence[ChunkTask]):
    """The tasks of a plan by their numbers; a task is made when it is asked for."""

    rows: Rows
    chunk_rows: int

    def __len__(self) -> int:
        return -(-len(self.rows) // self.chunk_rows)

    @overload
    def __getitem__(self, index: int) -> ChunkTask: ...
    @overload
    def __getitem__(self, index: slice) -> list[ChunkTask]: ...
    def __getitem__(self, index: int | slice) -> ChunkTask | list[ChunkTask]:
        if isinstance(index, slice):
            return [self[chunk] for chunk in range(len(self))[index]]
        chunk = range(len(self))[index]
        start = chunk * self.chunk_rows
        return ChunkTask(chunk, start, self.rows[start : start + self.chunk_rows])

    def size(self, chunk: int) -> int:
        """Rows of a chunk."""
        return min(self.chunk_rows, len(self.rows) - chunk * self.chunk_rows)


class Attempts:
    """How often each chunk was begun, whichever worker died of it; an actor of its own.

    Here, and not with the steps: the process of the actor imports this module, and no torch.
    """

    def __init__(self) -> None:
        self.begun = Counter[int]()

    def begin(self, chunk: int) -> int:
        """Count one more; how many there were before."""
        self.begun[chunk] += 1
        return self.begun[chunk] - 1

    def repeated(self) -> dict[int, int]:
        """Chunks that were begun more than once, and how many times more."""
        return {chunk: count - 1 for chunk, count in sorted(self.begun.items()) if count > 1}


def counts_file(out: str) -> str:
    """Where what was counted of a source is kept, so that `--resume` need not count again."""
    return f"{out.rstrip('/')}.counts.json"


def plan_chunks(rows: Sequence[Row], chunk_rows: int) -> Chunks:
    """Consecutive runs of `chunk_rows` rows, in order; the last may be shorter."""
    return Chunks(Rows.of(rows), chunk_rows)


def plan_rows(heldout: int, source: Source, out: str = "", shuffle: bool = False) -> Plan:
    """The rows to train on, then the held-out ones; or the rows of an extended store at `out`.

    With `shuffle` runs of SHUFFLED rows to train on come in a random order, the same every time.
    A store at `out` that was begun without its held-out rows goes on without them.
    """
    train, val = split_rows(source.rows, heldout)
    if out and store_exists(out):
        store = open_store(out)
        if store.manifest.order:
            return Plan(_stored_order(store), list(store.manifest.classes), is_extended=True)
        if heldout and not store.manifest.val_rows:
            val = val[:0]
    train = shuffled(train) if shuffle else train
    return Plan(train + val.held_out(), source.classes)


def shuffled(rows: Rows) -> Rows:
    """Runs of SHUFFLED neighbours in a random order: a file is read in runs, not image by image."""
    order = permutation(-(-len(rows) // SHUFFLED), seed=0, epoch=0)
    return rows.in_blocks(order, SHUFFLED)


def order_bytes(rows: Sequence[Row]) -> bytes:
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


def _stored_order(store: Store) -> Rows:
    """The rows of an extended store; a lost list is found in the index of a finished one."""
    if store.is_intact(ORDER):
        return rows_of(read_parquet(store.read(ORDER)))
    if store.finished:
        rows = rows_of(store.index)
        if hashlib.sha256(order_bytes(rows)).hexdigest() == store.manifest.order:
            return rows
    raise StoreError(f"{store.path} has lost its {ORDER}, the order of its rows: tokenize again")


def rows_of(table: pa.Table) -> Rows:
    """The rows that an index, or the order of an extended store, lists."""
    batches = with_split(table).select(("key", "label", "split")).to_batches(ORDER_BATCH)
    entries = (entry for batch in batches for entry in batch.to_pylist())
    return Rows.of(Row(entry["key"], entry["label"], Split(entry["split"])) for entry in entries)
