"""A chunk of pixels from a decoder to an encoder on a GPU, through Ray's object store.

`python -m tests.bench object_store`: seconds a chunk, seconds until an encoder has the pixels, peak
memory of its process and bytes that Ray stores for a chunk; with the pixels as a column of their
own, as `pipeline/tokenize/ray_steps.py` sends them, and pickled with the rest. Decoding and
encoding take no time here; the GPU is a number in Ray's books.
"""

import logging
import os
import pickle
import re
import resource
import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from pipeline.tokenize.ray_steps import CHUNK, packed, unpacked
from tests.bench.measure import machine

CHUNKS, ROUNDS = 8, 3
SHAPE = (1024, 2, 3, 256, 256)  # 403 MB: a chunk of ImageNet's recipe, centre and flip

Row = dict[str, Any]


def pickled(chunk: Any) -> Row:
    """All of a chunk in one string of bytes."""
    return {CHUNK: np.array([pickle.dumps(chunk)], dtype=object)}


def unpickled(row: Row) -> Any:
    """What `pickled` was given."""
    return pickle.loads(row[CHUNK][0])


WAYS: dict[str, tuple[Callable[[Any], Row], Callable[[Row], Any]]] = {
    "pickled whole": (pickled, unpickled),
    "pixels as a column": (packed, unpacked),
}


def decode(_row: Row, pack: Callable[[Any], Row]) -> Row:
    """A chunk of constant pixels."""
    return pack({"pixels": np.full(SHAPE, 7, np.uint8), "row": np.arange(SHAPE[0])})


class Encode:
    """Looks at the pixels."""

    def __init__(self, unpack: Callable[[Row], Any]) -> None:
        self.unpack = unpack

    def __call__(self, row: Row) -> Row:
        """Seconds until they are there, and the peak of this process in MiB."""
        began = time.perf_counter()
        total = int(self.unpack(row)["pixels"][:, 0, 0, 0, 0].sum())
        assert total == 7 * SHAPE[0]
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        return {"seconds": np.array([time.perf_counter() - began]), "peak": np.array([peak])}


def measure(way: str) -> list[float]:
    """Seconds a chunk, seconds to have it, peak in MiB, bytes Ray stored of a chunk."""
    import ray

    pack, unpack = WAYS[way]
    chunks: Any = ray.data.from_items([{"n": n} for n in range(CHUNKS)], override_num_blocks=CHUNKS)
    actors = ray.data.ActorPoolStrategy(size=1)
    began = time.perf_counter()
    seen = chunks.map_batches(decode, fn_args=(pack,), batch_size=1, num_cpus=1).map_batches(
        Encode, fn_constructor_args=(unpack,), batch_size=1, compute=actors, num_gpus=1
    )
    rows = list(seen.iter_batches(batch_size=1, batch_format="numpy", prefetch_batches=0))
    each = (time.perf_counter() - began) / CHUNKS
    sizes = re.findall(r"Output size bytes per block: \d+ min, (\d+) max", seen.stats())
    waited = statistics.median(float(row["seconds"][0]) for row in rows)
    return [each, waited, max(float(row["peak"][0]) for row in rows), max(map(float, sizes))]


def main() -> None:
    """Print the table, medians of interleaved rounds."""
    import ray

    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")
    options: dict[str, Any] = {"logging_level": logging.ERROR, "log_to_driver": False}
    ray.init(
        num_cpus=2, num_gpus=1, include_dashboard=False, object_store_memory=6 << 30, **options
    )
    ray.data.DataContext.get_current().enable_progress_bars = False
    logging.getLogger("ray.data").setLevel(logging.CRITICAL)
    found: dict[str, list[list[float]]] = {way: [] for way in WAYS}
    for _ in range(ROUNDS):
        for way in WAYS:
            found[way].append(measure(way))
    ray.shutdown()
    print(machine())
    print("| | s a chunk | s to have it | peak of the encoder, MiB | bytes stored an image |")
    print("|---|---|---|---|---|")
    for way, runs in found.items():
        each, waited, peak, stored = (
            statistics.median(values) for values in zip(*runs, strict=True)
        )
        print(f"| {way} | {each:.2f} | {waited:.3f} | {peak:,.0f} | {stored / SHAPE[0]:,.0f} |")
