"""Samples per second of one shuffled epoch: our loader, the limit in RAM, and other libraries.

Libraries that are not installed are skipped. They may lie in a folder of their own, named by
PYTHONPATH (`PYTHONPATH=PEERS:. python -m tests.bench loader`): the project does not need them.

Every measurement runs in a process of its own, so that what one reader leaves running slows no
other. An epoch lasts from asking for it to its last batch. A slow one is left after `CAP` seconds,
and its rate taken as if the rest went on as what came after the first batch. The cold figures need
the temporary folder on a disk, and tell nothing of caches behind that disk.
"""

import gc
import multiprocessing
import os
import statistics
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from itertools import takewhile
from pathlib import Path
from typing import Any

import numpy as np
import torch

from nvg.geometry import canonical
from nvg.loader import LoaderMode, SequenceLoader
from nvg.store import open_store
from tests.bench.loader_peers import BATCH, LEAVES, PEERS, ROWS, TOKENS, Batch, Reader, Samples, Way
from tests.bench.measure import machine
from tests.nvg.store.makers import empty_store, index_table, write_rows

ROUNDS, TRIALS, COLD_PEERS = 3, 2, 3
CAP, TRIAL, SHORT, HANGS = 6.0, 2.0, 2.0, 120.0  # seconds
PART = 20_000  # samples that are made at a time
CODES, CLASSES, SKEW = 4096, 1000, 2.65  # the tokens' entropy is 11 bits

Row = tuple[str, int]
"""A reader's name and the number of its setting."""


@dataclass(frozen=True)
class Found:
    """What one measurement found."""

    rate: float  # samples per second of the epoch
    first: float  # seconds to the first batch
    opened: float  # seconds until the reader was there; in memory mode with the preload


def make_samples() -> Samples:
    """Leaves of random hierarchies, tokens of a skewed distribution, labels."""
    rng = np.random.default_rng(0)
    leaves = np.empty((ROWS, LEAVES), np.uint8)
    for part in np.split(leaves, ROWS // PART):
        order = np.broadcast_to(np.arange(LEAVES, dtype=np.uint8), part.shape)
        part[:] = canonical(torch.from_numpy(rng.permuted(order, axis=1))).numpy()
    content = CODES * rng.random((ROWS, TOKENS), np.float32) ** SKEW
    label = rng.integers(CLASSES, size=ROWS, dtype=np.int32)
    return Samples(leaves, content.astype(np.uint16), label)


def write_arrays(folder: Path, samples: Samples) -> None:
    """The three arrays as they are."""
    np.savez(folder / "arrays.npz", **vars(samples))


def read_arrays(folder: Path) -> Samples:
    """What `write_arrays` wrote, in memory."""
    return Samples(**np.load(folder / "arrays.npz"))


def limit(path: Path) -> Iterator[Batch]:
    """One gather an array."""
    arrays = list(vars(read_arrays(path)).values())

    def epoch() -> Iterator[Batch]:
        order = np.random.default_rng(0).permutation(ROWS)
        for start in range(0, ROWS, BATCH):
            rows = order[start : start + BATCH]
            leaves, content, label = (torch.from_numpy(values.take(rows, 0)) for values in arrays)
            yield leaves, content, label

    return epoch()


def write_stores(folder: Path, samples: Samples) -> None:
    """A store of small chunks and one of large."""
    leaves, content = samples.leaves[:, None], samples.content[:, None]
    arrays = {"leaves": leaves, "content": content, "label": samples.label}
    sizes = {"grid": 16, "codebook_size": CODES, "classes": [str(n) for n in range(CLASSES)]}
    for rows in (1024, 4096):
        store = empty_store(folder / str(rows), ROWS, chunk_rows=rows, shard_rows=1 << 16, **sizes)  # type: ignore[arg-type]
        index = index_table(store, arrays)
        for chunk in range(store.chunks):
            write_rows(store, chunk, arrays, index)
        store.finish()


def ours(mode: LoaderMode, is_first: bool, path: Path) -> Iterator[Batch]:
    """Our loader, or its second epoch: the first one preloads, or compares SHA-256 sums."""
    loader = SequenceLoader(open_store(str(path)), BATCH, 0, drop_last=False, mode=mode)
    if not is_first:
        for _ in loader:
            pass
    return ((batch.leaves, batch.content, batch.label) for batch in loader)


EPOCHS = [(LoaderMode.MEMORY, ""), (LoaderMode.STREAM, ", first"), (LoaderMode.STREAM, "")]
OURS = [
    Way(f"{mode.value}{epoch}, chunks of {rows}", str(rows), partial(ours, mode, bool(epoch)), rows)
    for mode, epoch in EPOCHS
    for rows in (1024, 4096)
]
COLD_OURS = 4  # without later epochs
READERS = {
    "numpy": Reader("numpy", write_arrays, [Way("in RAM, take", "", limit)]),
    "nvg": Reader("nvg", write_stores, OURS),
    **PEERS,
}


def measure(row: Row, folder: Path, cap: float = CAP, is_cold: bool = False) -> Found:
    """An epoch; if it is a short one, the next: a young process still asks for all its memory."""
    reader, way = READERS[row[0]], READERS[row[0]].ways[row[1]]
    path = folder / row[0] / way.files
    for _ in range(2):
        if is_cold:
            forget(path)
        began = time.perf_counter()
        epoch = way.open(path)
        opened = time.perf_counter() - began
        seconds, first = timed(epoch, reader.rows, cap)
        del epoch
        gc.collect()  # a file that is still mapped would not be forgotten
        if seconds > SHORT:
            break
    return Found(reader.rows / seconds, first, opened)


def timed(epoch: Iterable[Batch], rows: int, cap: float) -> tuple[float, float]:
    """Seconds of an epoch, perhaps extrapolated, and to its first batch."""
    count, ahead, first = 0, 0, 0.0
    began = time.perf_counter()
    for batch in epoch:
        count += len(batch[2])
        if not ahead:
            ahead, first = count, time.perf_counter() - began
        if time.perf_counter() - began > cap:
            break
    else:
        assert count == rows, f"{count} of {rows} samples"
    seconds = time.perf_counter() - began
    return seconds + (seconds - first) * (rows - count) / (count - ahead), first


def check(row: Row, folder: Path) -> float:
    """Chunks that a full batch mixes; asserts that all are samples and none comes twice.

    Ours are read to the end, so that it is exactly once; others for `CAP` seconds.
    """
    way = READERS[row[0]].ways[row[1]]
    ends = time.perf_counter() + (HANGS if row[0] == "nvg" else CAP)
    kept = list(
        takewhile(lambda _: time.perf_counter() < ends, way.open(folder / row[0] / way.files))
    )
    samples = read_arrays(folder / "numpy")
    row_of = {leaves.tobytes(): row for row, leaves in enumerate(samples.leaves)}
    found = []
    for leaves, content, label in kept:
        rows = np.array([row_of[sample.tobytes()] for sample in leaves.numpy()])
        assert np.array_equal(samples.content[rows], content.numpy())
        assert np.array_equal(samples.label[rows], label.numpy())
        found.append(rows)
    count = sum(map(len, found))
    assert len(np.unique(np.concatenate(found))) == count, "a sample came twice"
    assert row[0] != "nvg" or count == ROWS, f"{count} of {ROWS} samples"
    return statistics.mean(len(np.unique(r // way.chunk)) for r in found if len(r) == BATCH)


def forget(path: Path) -> None:
    """Have the system drop what it caches of these files."""
    os.sync()
    for file in filter(Path.is_file, path.rglob("*")):
        descriptor = os.open(file, os.O_RDONLY)
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        os.close(descriptor)


def write(name: str, folder: Path) -> None:
    """Write the samples as a reader wants them; the first one, numpy, makes them."""
    (folder / name).mkdir()
    samples = make_samples() if name == "numpy" else read_arrays(folder / "numpy")
    READERS[name].write(folder / name, samples)


def alone(call: Callable[..., Any], *arguments: Any) -> Any:
    """The result of a call in a process of its own, which has this module loaded."""
    receiver, sender = SERVER.Pipe(duplex=False)
    process = SERVER.Process(target=_answer, args=(sender, call, arguments))
    process.start()
    sender.close()
    try:
        if receiver.poll(HANGS):
            return receiver.recv()
    except EOFError:
        pass  # it has printed why
    finally:
        process.join(5)
        process.kill()
    sys.exit(f"loader: {call.__name__}{arguments} failed or hung")


def _answer(sender: Any, call: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
    warnings.simplefilter("ignore")
    multiprocessing.set_start_method("fork", force=True)  # for data loaders, as usual on Linux
    torch.set_num_threads(1)  # two would wait for each other where neighbours hold a core
    sender.send(call(*arguments))


SERVER = multiprocessing.get_context("forkserver")
SERVER.set_forkserver_preload([__name__])


def prepare(folder: Path) -> list[Row]:
    """Write for every reader that is installed; our settings, and the best of each other one."""
    rows: list[Row] = []
    for name, reader in READERS.items():
        try:
            version(reader.package)
        except PackageNotFoundError:
            print(f"  {name}: {reader.package} is not installed, left out")
            continue
        alone(write, name, folder)
        settings = [(name, number) for number in range(len(reader.ways))]
        if name in PEERS:
            rounds = [
                [alone(measure, row, folder, TRIAL).rate for row in settings] for _ in range(TRIALS)
            ]
            rates = [max(found) for found in zip(*rounds, strict=True)]
            tried = zip(reader.ways, rates, strict=True)
            shown = "; ".join(f"{way.setting} {rate:,.0f}" for way, rate in tried)
            print(f"  tried {name}: {shown}", flush=True)
            settings = [settings[int(np.argmax(rates))]]
        rows += settings
    return rows


def report(folder: Path, rows: list[Row]) -> dict[Row, float]:
    """Print the table of warm epochs; returns the rates."""
    mixed = [alone(check, row, folder) for row in rows]
    rounds = [[alone(measure, row, folder) for row in rows] for _ in range(ROUNDS)]
    rates: dict[Row, float] = {}
    print(f"  {'':42}{'version':>9} bytes/sample  samples/s  of limit  first, ms  mixing")
    for row, mixing, found in zip(rows, mixed, zip(*rounds, strict=True), strict=True):
        reader, way = READERS[row[0]], READERS[row[0]].ways[row[1]]
        rates[row] = statistics.median(one.rate for one in found)
        first = statistics.median(one.first for one in found) * 1000
        files = (folder / row[0] / way.files).rglob("*")
        size = sum(file.stat().st_blocks * 512 for file in files if file.is_file()) / reader.rows
        print(
            f"  {row[0] + ': ' + way.setting:50}{version(reader.package):>9}{size:13.0f}"
            f"{rates[row]:11,.0f}{rates[row] / rates[rows[0]]:10.4f}{first:11.1f}"
            f"{mixing:7.1f} x {way.chunk}"
        )
    return rates


def report_cold(folder: Path, rows: list[Row]) -> None:
    """Print rates with nothing cached, opening included: some read all of it then, as a preload."""
    rounds = [[alone(measure, row, folder, CAP, True) for row in rows] for _ in range(ROUNDS)]
    print("  cold, from opening to the last batch: samples/s, and seconds to open")
    for row, found in zip(rows, zip(*rounds, strict=True), strict=True):
        reader, setting = READERS[row[0]], READERS[row[0]].ways[row[1]].setting
        seconds = statistics.median(one.opened + reader.rows / one.rate for one in found)
        opened = statistics.median(one.opened for one in found)
        print(f"  {row[0] + ': ' + setting:50}{reader.rows / seconds:11,.0f}{opened:7.2f}")


def main() -> None:
    """Print what was tried, the table of warm epochs, and that of cold ones."""
    print(f"loader: samples/s of an epoch in random batches of {BATCH}; {machine()}")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        os.environ["TMPDIR"] = name  # what libraries leave behind goes with it
        rows = prepare(folder)
        rates = report(folder, rows)
        fastest = sorted((row for row in rows if row[0] in PEERS), key=rates.__getitem__)
        cold = [row for row in rows if row[0] == "nvg"][:COLD_OURS] + fastest[-COLD_PEERS:]
        report_cold(folder, cold)
