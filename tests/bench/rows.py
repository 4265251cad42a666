"""Millions of rows without pixels: what planning, a store, its index and the loader take.

`python -m tests.bench rows` takes NVG_BENCH_ROWS rows, by default 1,280,000 (about 3 minutes on two
cores), in chunks of 1,024. Keys are listed by parts of 10,000 images, tokens are constant; all that
is written, checked and read is what a real pass does. Each step runs in a process of its own.
"""

import multiprocessing
import os
import resource
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from nvg.loader import LoaderMode, SequenceLoader
from nvg.store import open_store, open_writer
from pipeline.images.pixels import Fix
from pipeline.sources.rows import Entry, PartListing, Rows, split_rows
from pipeline.tokenize.chunk import commit_chunk
from pipeline.tokenize.plan import Chunks, plan_chunks
from tests.bench.measure import machine
from tests.nvg.store.makers import empty_store

PART, CHUNK, SHARD, GRID, CODES, BATCH = 10_000, 1024, 1 << 16, 16, 4096, 256
CLASSES = tuple(f"class-{number}" for number in range(1000))


class Numbered(PartListing):
    """Tar shards of 10,000 images, whose listing takes no file."""

    def part(self, part: int, first: int, stop: int) -> list[Entry]:
        """Keys as of a tar shard."""
        return [(f"{part:05d}.tar/{n:06d}.jpg", n % len(CLASSES)) for n in range(first, stop)]


@dataclass(frozen=True)
class Step:
    """What a step took, in a process of its own."""

    seconds: float
    cpu: float
    peak: float
    """MiB, above what the process had at the start."""
    said: str


def alone(work: Callable[..., str], *arguments: Any) -> Step:
    """Run a step in a new process."""
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=context) as pool:
        return pool.submit(_measured, work, arguments).result()


def _measured(work: Callable[..., str], arguments: tuple[Any, ...]) -> Step:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    began, worked = time.perf_counter(), time.process_time()
    said = work(*arguments)
    seconds, cpu = time.perf_counter() - began, time.process_time() - worked
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    return Step(seconds, cpu, peak / 1024, said)


def planned(rows: int) -> Chunks:
    """The tasks of a pass over so many images, every 50th held out."""
    counts = [min(PART, rows - first) for first in range(0, rows, PART)]
    listing = Numbered(counts)
    train, val = split_rows(Rows.split(listing, [False], [rows]), rows // 50)
    return plan_chunks(train + val.held_out(), CHUNK)


def plan(rows: int) -> str:
    """Which rows make which chunk, and one task."""
    chunks = planned(rows)
    task = chunks[len(chunks) // 2]
    first = next(iter(task.rows)).key
    return f"{len(chunks)} chunks of {-(-rows // PART)} parts; one begins with {first}"


def write(path: str, rows: int, own: range) -> str:
    """Commit chunks as a worker does, their tokens constant."""
    chunks, store = planned(rows), open_writer(path)
    geometry = store.geometry
    leaves = np.arange(geometry.positions).astype(geometry.leaf_name)
    for number in own:
        listed = list(chunks[number].rows)
        count = len(listed)
        label = np.array([row.label for row in listed], np.int32)
        block: dict[str, Any] = {
            "chunk": np.full(count, number),
            "row": np.arange(chunks[number].start, chunks[number].start + count),
            "key": np.array([row.key for row in listed], object),
            "label": label,
            "class": np.array([CLASSES[n] for n in label], object),
            "width": np.full(count, 256, np.int32),
            "height": np.full(count, 256, np.int32),
            "reason": np.full(count, "", object),
            "split": np.array([row.split.value for row in listed], object),
            "stage_error": np.full((count, geometry.stages), 0.5, np.float32),
            "leaves": np.broadcast_to(leaves, (count, 1, len(leaves))).copy(),
            "content": np.full((count, 1, geometry.tokens), number % CODES, np.uint16),
            "done": np.full(count, Fix(0)),
            "decode_seconds": np.zeros(count),
            "encode_seconds": np.zeros(count),
        }
        commit_chunk(block, path)
    return f"{len(own)} chunks"


def finish(path: str) -> str:
    """Count, and declare the store finished."""
    open_writer(path).finish()
    files = [file for file in Path(path).rglob("*") if file.is_file()]
    size = sum(file.stat().st_size for file in files)
    arrays = sum(file.is_relative_to(Path(path) / "leaves" / "c") for file in files)
    return f"{len(files)} files, {arrays} of leaves, {size / 1e6:.0f} MB"


def resume(path: str, rows: int) -> str:
    """Plan, and see which chunks are missing: what `--resume` does before it reads them again."""
    done = set(open_writer(path).committed())
    return f"{sum(chunk not in done for chunk in range(len(planned(rows))))} missing"


def opened(path: str) -> str:
    """Open, with all that is compared then."""
    return f"{len(open_store(path))} rows"


def found(path: str) -> str:
    """One row and its tokens."""
    store = open_store(path)
    row = len(store) * 2 // 3
    store.row_tokens([row])
    return str(store.entry(row)["key"])


def first_batch(path: str) -> str:
    """Open, and stream the first batch of an epoch."""
    loader = SequenceLoader(open_store(path), BATCH, mode=LoaderMode.STREAM)
    return f"{len(next(iter(loader)).label)} rows of {loader.count}"


def verified(path: str) -> str:
    """Everything read again."""
    faults = open_store(path).verify()
    assert not faults, faults[:3]
    return "no faults"


def main() -> None:
    """Print the table."""
    rows = int(os.environ.get("NVG_BENCH_ROWS", "1280000").replace("_", ""))
    print(f"rows: {rows:,} in chunks of {CHUNK}; {machine()}")
    with tempfile.TemporaryDirectory() as folder:
        path = f"{folder}/tokens.vgs"
        sizes: dict[str, Any] = {"grid": GRID, "chunk_rows": CHUNK, "shard_rows": SHARD}
        empty_store(path, rows, classes=CLASSES, val_rows=rows // 50, codebook_size=CODES, **sizes)
        show("plan", alone(plan, rows))
        show("write", alone(write, path, rows, range(-(-rows // CHUNK))))
        show("resume", alone(resume, path, rows))
        show("finish", alone(finish, path))
        show("open", alone(opened, path))
        show("find a row", alone(found, path))
        show("first batch", alone(first_batch, path))
        show("verify", alone(verified, path))


def show(name: str, step: Step) -> None:
    """A line of the table."""
    print(
        f"  {name:12}{step.seconds:9.2f} s {step.cpu:9.2f} s CPU {step.peak:8.0f} MiB more  "
        f"{step.said}",
        flush=True,
    )
