"""Streaming: how batches mix, and what an epoch over a slow network takes.

`python -m tests.bench stream`. The network is a server of files on this machine that waits before
each answer; nothing of the store is cached at first. Mixing is counted for ImageNet's sizes, from
the order alone.
"""

import multiprocessing
import os
import tempfile
import time
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np

from nvg.loader import LoaderMode, SequenceLoader
from nvg.loader.deal import Deal, Piece
from nvg.loader.loader import WINDOW
from nvg.store import open_store
from tests.bench.loader import make_samples, write_stores
from tests.bench.loader_peers import BATCH, ROWS
from tests.bench.measure import machine
from tests.bench.stream_s3 import report_s3
from tests.nvg.fetch.makers import Handler, serving

DELAYS = (0.0, 0.02, 0.05)  # seconds
IMAGES, SIZES, NODES = 1_280_000, (1024, 4096), (1, 2, 8)
WINDOWS = 6  # of each node that are looked at
SPAWN = multiprocessing.get_context("spawn")


def batch_chunks(deal: Deal, batch: int) -> list[np.ndarray]:
    """For each batch over all nodes how many samples each of its chunks has."""
    orders = []
    for node in range(deal.nodes):
        chunks = []
        for number, window in enumerate(deal.windows(node)[:WINDOWS]):
            found = np.concatenate([np.full(len(p.rows), p.chunk) for p in window])
            chunks.append(found[deal.rows(node, number, len(found), 1)[0]])
        orders.append(np.concatenate(chunks))
    own = batch // deal.nodes
    steps = min(map(len, orders)) // own
    together = np.hstack([order[: steps * own].reshape(steps, own) for order in orders])
    return [np.unique(step, return_counts=True)[1] for step in together]


def report_mixing() -> None:
    """Print chunks in a batch, the largest part that one has, and what all nodes read."""
    print("| rows a chunk | nodes | chunks in a batch | largest part, mean | most | chunks read |")
    print("|---|---|---|---|---|---|")
    for size in SIZES:
        pieces = [Piece(n, range(size)) for n in range(IMAGES // size)]
        for nodes in NODES:
            deal = Deal(pieces, 0, 0, WINDOW, nodes)
            found = batch_chunks(deal, BATCH)
            parts = [counts.max() / BATCH for counts in found]
            shown = [{p.chunk for w in deal.windows(node) for p in w} for node in range(nodes)]
            print(
                f"| {size} | {nodes} | {np.mean([len(counts) for counts in found]):.1f} "
                f"| {np.mean(parts):.3f} | {max(parts):.3f} "
                f"| {sum(map(len, shown)) / len(pieces):.4f} x |"
            )


def serve(folder: str, delay: float, end: Connection) -> None:
    """Serve a folder until told to stop, over connections that stay open."""
    Handler.protocol_version = "HTTP/1.1"
    with serving(Path(folder)) as server:
        server.delay = delay
        end.send(server.url)
        end.recv()


def epochs(url: str) -> list[tuple[float, int]]:
    """Samples per second of two epochs, and the threads that read at the end of each."""
    loader = SequenceLoader(open_store(url), BATCH, drop_last=False, mode=LoaderMode.STREAM)
    found = []
    for _ in range(2):
        began = time.perf_counter()
        count = sum(len(batch.label) for batch in loader)
        found.append((count / (time.perf_counter() - began), loader.reader.pace.threads))
    return found


def report_network(folder: Path) -> None:
    """Print samples per second by the seconds before an answer."""
    print(f"| s an answer | first epoch ({ROWS:,} samples), samples/s | threads | second |")
    print("|---|---|---|---|")
    for delay in DELAYS:
        here, there = SPAWN.Pipe()
        server = SPAWN.Process(target=serve, args=(str(folder), delay, there))
        server.start()
        os.environ["NVG_CACHE"] = str(folder / f"cache-{delay}")
        (first, threads), (second, _) = epochs(f"{here.recv()}/1024")
        print(f"| {delay} | {first:,.0f} | {threads} | {second:,.0f} |", flush=True)
        here.send(None)
        server.join()


def main() -> None:
    """Print the tables."""
    print(f"stream: batches of {BATCH}, windows of {WINDOW} chunks; {machine()}")
    report_mixing()
    with tempfile.TemporaryDirectory() as name:
        samples = make_samples()
        write_stores(Path(name), samples)
        report_network(Path(name))
    report_s3(samples)
