"""Looking at a store as large as ImageNet: seconds to open, to list, to the first picture, memory.

The baseline is a store of a hundredth of its rows.

Legend: V code, C channel.
"""

import tempfile
import time
from pathlib import Path

import numpy as np
import psutil

from nvg.store import Store, open_store
from nvg.view.html import image_records
from nvg.view.server import Browser
from nvg.view.store_map import store_map
from nvg.view.summary import summarize
from tests.bench.measure import machine
from tests.nvg.store.makers import empty_store, index_table, random_arrays

ROWS, CHUNK, GRID = 1_281_167, 4096, 8


def main() -> None:
    """Print the table."""
    print(f"view: {ROWS:,} rows, grid {GRID}; {machine()}")
    with tempfile.TemporaryDirectory() as folder:
        small, large = (_made(Path(folder) / f"{rows}.vgs", rows) for rows in (ROWS // 100, ROWS))
        figures = [_look(path) for path in (small, large)]
    for name, one in figures[0].items():
        other = figures[1][name]
        print(f"  {name:34} {one:9.3f}  {other:9.3f}  {other / max(one, 1e-9):7.1f} x")


def _made(path: Path, rows: int) -> str:
    """A finished store whose chunks repeat one chunk of random tokens."""
    store = empty_store(path, rows, grid=GRID, chunk_rows=CHUNK, codebook_size=1024)
    whole = empty_store(
        f"memory://{path.name}", CHUNK, grid=GRID, chunk_rows=CHUNK, codebook_size=1024
    )
    arrays, index = random_arrays(whole), None
    index = index_table(whole, arrays)
    for chunk in range(store.chunks):
        part = store.chunk_slice(chunk)
        count = part.stop - part.start
        numbered = index.slice(0, count).set_column(0, "row", [np.arange(part.start, part.stop)])
        numbered = numbered.set_column(
            1, "key", [[f"n{row:08d}.jpg" for row in range(part.start, part.stop)]]
        )
        store.write_chunk(chunk, {name: each[:count] for name, each in arrays.items()}, numbered)
    store.finish()
    return store.path


def _look(path: str) -> dict[str, float]:
    """Seconds of each question, and MiB that the process grew by."""
    before = psutil.Process().memory_info().rss
    found: dict[str, float] = {}

    def timed(name: str, call: object) -> object:
        began = time.perf_counter()
        result = call()  # type: ignore[operator]
        found[f"{name} (s)"] = time.perf_counter() - began
        return result

    store = timed("open", lambda: open_store(path))
    assert isinstance(store, Store)
    timed("index", lambda: store.index)
    browser = Browser(store)
    timed("page", browser.page)
    timed("list with search", lambda: browser.list_rows({"search": "n0000123", "count": "48"}))
    timed("picture of the last row", lambda: image_records(store, [len(store) - 1], {}))
    query = {"stage": "3", "code": "5", "row": "0"}
    timed("images with a token", lambda: browser.rows_with_code(query))
    codes, channels = store.manifest.codebook_size, store.manifest.latent_dim
    codebook_VC = np.random.default_rng(0).normal(size=(codes, channels)).astype(np.float32)
    timed("map", lambda: store_map(store, codebook_VC))
    timed("inspect", lambda: summarize(store))
    found["grown by (MiB)"] = (psutil.Process().memory_info().rss - before) / 2**20
    return found
