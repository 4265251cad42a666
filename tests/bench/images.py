"""Batches for the autoencoder from Parquet: held in memory, and read, against one row at a time.

CIFAR-10 where NVG_TEST_DATA names a folder that holds it, else noise in row groups of its size.
"""

import os
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from nvg.seeding import step_rows
from nvg.tokenizer.image_batch import RandomCrop
from pipeline.images.blocks import RowImages, decode_rows
from pipeline.images.crops import Crops
from pipeline.images.held import HeldImages
from pipeline.images.threads import decode_threads
from pipeline.recipe import View
from pipeline.sources import FolderSource, ParquetSource
from tests.bench.measure import interleaved, machine
from tests.bench.memory import write_images

BATCH, SIZE, RESIZE = 256, 32, 1.125
ROUNDS = 5
PHOTOS = 96


class OneGroup(ParquetSource):
    """Keeps the row group of the row before, and converts the whole of it."""

    def read(self, keys: Sequence[str]) -> Iterator[bytes | OSError]:
        """Images in the order of the keys."""
        import pyarrow.parquet as pq

        kept, reader, images = ("", -1), None, []
        for key in keys:
            name, _, number = key.rpartition(":")
            if reader is None or kept[0] != name:
                reader = pq.ParquetFile(self.files[name].root)
            first, group = 0, 0
            while int(number) >= first + reader.metadata.row_group(group).num_rows:
                first += reader.metadata.row_group(group).num_rows
                group += 1
            if kept != (name, group):
                images = reader.read_row_group(group, columns=[self.columns[name]])[0].to_pylist()
                kept = name, group
            yield images[int(number) - first]["bytes"]


def main() -> None:
    """Print seconds of a shuffled batch, and the ratios."""
    print(f"images: {machine()}, {decode_threads()} threads decode")
    real = sorted(Path(os.environ.get("NVG_TEST_DATA", "-")).glob("cifar10-train-*.parquet"))
    with tempfile.TemporaryDirectory() as folder:
        if not real:
            write_images(Path(folder) / "noise.parquet", 20_000)
        _report_parquet(real[0].parent if real else Path(folder))
    _report_threads()


def _report_parquet(path: Path) -> None:
    source, before = ParquetSource(path), OneGroup(path)
    rows, at = source.rows, iter(range(10**6))

    def batch(images: RowImages | HeldImages, resize: float | None = None) -> None:
        step = next(at)
        crop = RandomCrop(step, resize) if resize else None
        images.batch(step_rows(len(rows), BATCH, 0, step), crop)

    def one_by_one() -> None:
        chosen = [rows[n] for n in step_rows(len(rows), BATCH, 0, next(at))]
        decode_rows(before, chosen, Crops(SIZE))

    read = RowImages(source, rows, SIZE)
    center, random = HeldImages(read, None, np.inf), HeldImages(read, RESIZE, np.inf)
    began = time.perf_counter()
    batch(center)
    held = time.perf_counter() - began
    calls = {
        "one by one": one_by_one,
        "read": lambda: batch(read),
        "held": lambda: batch(center),
        "held, random crops": lambda: batch(random, RESIZE),
    }
    seconds = interleaved(calls, ROUNDS)
    print(f"  {len(rows)} images of {SIZE} px held after {held:.1f} s; a batch of {BATCH}:")
    for name, each in seconds.items():
        ratio = seconds["one by one"] / each
        print(f"    {name:18} {each * 1e3:8.2f} ms, {ratio:6.1f} times as fast as one by one")


def _report_threads() -> None:
    """Photos to 256 pixels by one thread and by two, where NVG_TEST_DATA has some."""
    folder = Path(os.environ.get("NVG_TEST_DATA", "-"), "imagenet300")
    if not folder.is_dir():
        return
    source, crops = FolderSource(folder), Crops(256, (View.CENTER, View.FLIP))
    rows = source.rows[:PHOTOS]
    seconds = interleaved(
        {
            "one": lambda: decode_rows(source, rows, crops),
            "two": lambda: decode_rows(source, rows, crops, threads=2),
        },
        ROUNDS,
    )
    one, two = (len(rows) / seconds[name] for name in ("one", "two"))
    print(f"  photos to 256 px: 1 thread {one:.0f} images/s, 2 threads {two:.0f}: {two / one:.2f}")
