"""Tokenizing to a bucket and streaming from it, as far away as the server says, beside others.

The server is one of this machine, over the files of a folder (`tests/bench/s3_folder.py`), so it
takes its part of the cores; the local disk is that folder. Nothing is cached but where it says so.
A streamed epoch is left after `CAP` seconds, see `tests.bench.loader.timed`.
"""

import multiprocessing
import os
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from nvg.loader import LoaderMode, SequenceLoader
from nvg.store import open_store
from nvg.tokenizer.config import AutoencoderConfig
from pipeline.recipe import AutoencoderSection, DataConfig, SourceKind, TokenizeConfig
from pipeline.tokenize.dataset import tokenize_dataset
from pipeline.tokenize.engine import Engine
from tests.bench import loader_peers
from tests.bench.loader import CLASSES, CODES, alone, timed
from tests.bench.loader_peers import (
    BATCH,
    SOME,
    Batch,
    Samples,
    columns_of,
    write_webdataset,
)
from tests.bench.s3_folder import serve_folder
from tests.makers import smooth_image, tiny_recipe
from tests.nvg.store.makers import empty_store, index_table, write_rows
from tests.nvg.tokenizer.makers import write_autoencoder
from tests.s3_server import Faults, variables

CAP = 5.0  # seconds
IMAGES, FEW, SIDE, CHUNK = 1200, 50, 32, 200
MODEL = AutoencoderConfig(image_size=SIDE, base_channels=32, multipliers=(1, 2, 2), blocks=1)
FILES = 20  # of a peer's
SPAWN = multiprocessing.get_context("spawn")
PLACES: dict[str, Faults | None] = {
    "local disk": None,
    "0 ms": Faults(),
    "20 ms": Faults(delay=0.02),
    "50 ms": Faults(delay=0.05),
    "20 ms, 1 % 503, 0.5 % reset": Faults(delay=0.02, slow_every=100, reset_every=200),
}


def write_files(folder: Path, samples: Samples) -> None:
    """A store, a peer's files each, and images with a tokenizer."""
    few = Samples(**{name: values[:SOME] for name, values in vars(samples).items()})
    sizes: dict[str, Any] = {"grid": 16, "codebook_size": CODES, "chunk_rows": 1024}
    classes = [str(n) for n in range(CLASSES)]
    store = empty_store(folder / "a.vgs", SOME, classes=classes, shard_rows=1 << 16, **sizes)
    arrays = {"leaves": few.leaves[:, None], "content": few.content[:, None], "label": few.label}
    index = index_table(store, arrays)
    for chunk in range(store.chunks):
        write_rows(store, chunk, arrays, index)
    store.finish()
    for kind, write in (("webdataset", write_webdataset), ("parquet", write_parquet)):
        (folder / kind).mkdir()
        write(folder / kind, few)
    rng = np.random.default_rng(0)
    for name, count in (("few", FEW), ("images", IMAGES)):
        (folder / name).mkdir()
        for number in range(count):
            smooth_image(rng, SIDE).save(folder / name / f"{number:05d}.png")


def write_parquet(folder: Path, samples: Samples) -> None:
    """Files of one row group each, lists of fixed size."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    def lists(values: Any) -> pa.Array:
        return pa.FixedSizeListArray.from_arrays(pa.array(values.ravel()), values.shape[1])

    for number, rows in enumerate(np.array_split(np.arange(len(samples.label)), FILES)):
        leaves, content = lists(samples.leaves[rows]), lists(samples.content[rows])
        columns = {"leaves": leaves, "content": content, "label": pa.array(samples.label[rows])}
        pq.write_table(pa.table(columns), folder / f"{number:04d}.parquet")


def ours(home: str, epoch: int) -> Iterator[Batch]:
    """Our loader's so many-th epoch."""
    loader = SequenceLoader(
        open_store(f"{home}/a.vgs"), BATCH, 0, drop_last=False, mode=LoaderMode.STREAM
    )
    for _ in range(epoch):
        for _ in loader:
            pass
    return ((batch.leaves, batch.content, batch.label) for batch in loader)


def webdataset(home: str, kind: str) -> Iterable[Batch]:
    """By HTTP, as its documentation has it: through curl, which tries again."""
    address = os.environ["AWS_ENDPOINT_URL"]
    own = home.replace("s3://", f"pipe:curl -fsL --retry 30 --retry-delay 1 {address}/")
    members = SOME if kind == "records" else -(-SOME // BATCH)
    count = -(-members // (members // FILES))  # as `write_webdataset` divides them
    names = [f"{own}/webdataset/{kind}/{number:04d}.tar" for number in range(count)]
    return loader_peers.webdataset(Path(kind), shards=names)


def datasets(home: str, is_shuffled: bool) -> Iterable[Batch]:
    """Parquet streamed through a shuffle buffer, or in the order of its rows."""
    import datasets as hf

    names = [f"{home}/parquet/{number:04d}.parquet" for number in range(FILES)]
    stream = hf.load_dataset("parquet", data_files=names, split="train", streaming=True)
    stream = stream.shuffle(seed=0, buffer_size=5000) if is_shuffled else stream
    return map(columns_of, stream.with_format("arrow").iter(BATCH))


READERS: dict[str, Callable[[str], Iterable[Batch]]] = {
    "ours, first epoch": partial(ours, epoch=0),
    "ours, second epoch": partial(ours, epoch=1),
    "webdataset, a member a sample": partial(webdataset, kind="records"),
    "webdataset, a member for 256": partial(webdataset, kind="blocks"),
    "datasets, Parquet": partial(datasets, is_shuffled=True),
    "datasets, Parquet, in its order": partial(datasets, is_shuffled=False),
}


def stream(name: str, home: str, address: str, cache: str) -> float | str:
    """Samples per second of an epoch, or what ended it."""
    os.environ.update(variables(address), NVG_CACHE=cache)
    try:
        seconds, _ = timed(READERS[name](home), SOME, CAP)
    except Exception as error:
        return f"fails: {type(error).__name__}"
    return SOME / seconds


def tokenize(home: str, address: str, tokenizer: str, number: int) -> float:
    """Images per second of a pass that lists images, reads, encodes and writes at one place."""
    os.environ.update(variables(address))
    for images in ("few", "images"):  # the first few warm up
        recipe = tiny_recipe(
            data=DataConfig(source=SourceKind.FOLDER, path=f"{home}/{images}"),
            tokenize=TokenizeConfig(chunk_rows=CHUNK, batch_size=50),
            autoencoder=AutoencoderSection(model=MODEL),
        )
        began = time.perf_counter()
        tokenize_dataset(recipe, Path(tokenizer), f"{home}/{images}-{number}.vgs", Engine.INLINE)
    return IMAGES / (time.perf_counter() - began)


def shown(value: float | str) -> str:
    return value if isinstance(value, str) else f"{value:,.0f}"


def report_s3(samples: Samples) -> None:
    """Print the table."""
    rows: dict[str, list[str]] = {name: [] for name in ("tokenizing, images/s", *READERS)}
    with tempfile.TemporaryDirectory() as name:
        folder, (here, there) = Path(name), SPAWN.Pipe()
        (folder / "data").mkdir()
        write_files(folder / "data", samples)
        write_autoencoder(folder / "run", config=MODEL)
        server = SPAWN.Process(target=serve_folder, args=(folder, there), daemon=True)
        server.start()
        address = here.recv()
        for number, faults in enumerate(PLACES.values()):
            here.send(faults or Faults())
            here.recv()
            home = "s3://data" if faults else str(folder / "data")
            found = alone(tokenize, home, address, str(folder / "run"), number)
            rows["tokenizing, images/s"].append(shown(found))
            for reader in READERS:
                cache = str(folder / f"cache-{number}-{reader}")
                rows[reader].append(shown(alone(stream, reader, home, address, cache)))
            print(f"  {list(PLACES)[number]}: {[cells[-1] for cells in rows.values()]}", flush=True)
        here.send(None)
        server.join()
    print(f"| {SOME:,} samples, samples/s of an epoch | {' | '.join(PLACES)} |")
    print("|---" * (len(PLACES) + 1) + "|")
    for name, cells in rows.items():
        print(f"| {name} | {' | '.join(cells)} |")
