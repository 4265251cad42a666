"""Other ways to store and read the samples, each as its own documentation advises for speed.

Libraries are imported inside functions, so that none of them need be installed. Most of them read
a sample as one record of bytes, which is at least as fast as a field at a time.
"""

import json
import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import chain, islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader
from torch.utils.dlpack import from_dlpack

try:
    from orjson import loads
except ImportError:
    from json import loads

ROWS, SOME, FEW = 200_000, 50_000, 20_000  # fewer where writing all would take minutes
LEAVES, TOKENS, BATCH = 256, 511, 256
RECORD = np.dtype([("leaves", "u1", LEAVES), ("content", "<u2", TOKENS), ("label", "<i4")])

Array = np.ndarray[Any, Any]
Batch = tuple[Tensor, Tensor, Tensor]
"""Leaves uint8 [B, 256], content uint16 [B, 511], label int32 [B]."""


@dataclass(frozen=True)
class Samples:
    """What every reader delivers, in the order of its rows."""

    leaves: Array
    content: Array
    label: Array

    def records(self, rows: int = ROWS) -> list[bytes]:
        """The first rows, one record of bytes each."""
        made = np.empty(rows, RECORD)
        for name, values in vars(self).items():
            made[name] = values[:rows]
        return [record.tobytes() for record in made]


@dataclass(frozen=True)
class Way:
    """A setting: its name, its folder below the reader's, how an epoch opens, rows to a chunk."""

    setting: str
    files: str
    open: Callable[[Path], Iterable[Batch]]
    chunk: int = 1024


@dataclass(frozen=True)
class Reader:
    """A package, how it writes the samples below a folder, its settings, and how many it gets."""

    package: str
    write: Callable[[Path, Samples], None]
    ways: list[Way]
    rows: int = ROWS


def joined(parts: Iterable[Any]) -> Batch:
    """One batch of records, given as bytes or as arrays."""
    records = np.frombuffer(b"".join(parts), RECORD)
    leaves, content, label = (np.ascontiguousarray(records[name]) for name in RECORD.names or ())
    return torch.from_numpy(leaves), torch.from_numpy(content), torch.from_numpy(label)


def batches(records: Iterable[Any]) -> Iterator[Batch]:
    """Batches made in this process."""
    iterator = chain(records)  # once: litdata's begins anew whenever asked for an iterator
    while part := list(islice(iterator, BATCH)):
        yield joined(part)


class Rows:
    """A map-style dataset that fetches a whole batch at a time."""

    def __init__(self, rows: int, fetch: Callable[[list[int]], Batch]) -> None:
        self.rows, self.fetch = rows, fetch

    def __len__(self) -> int:
        return self.rows

    def __getitems__(self, rows: list[int]) -> Batch:
        return self.fetch(rows)

    def shuffled(self, workers: int = 0) -> Any:
        """Batches of random rows."""
        return DataLoader(self, BATCH, True, num_workers=workers, collate_fn=lambda batch: batch)  # type: ignore[arg-type]


def write_litdata(folder: Path, samples: Samples) -> None:
    """Records as bytes, and as blocks of 16-bit tokens."""
    from litdata.streaming import Cache
    from litdata.streaming.item_loader import TokensLoader

    words = TokensLoader(RECORD.itemsize // 2)
    tokens = Cache(str(folder / "tokens"), chunk_bytes="64MB", item_loader=words)
    records = Cache(str(folder / "records"), chunk_bytes="8MB")
    for number, record in enumerate(samples.records()):
        records[number], tokens[number] = record, np.frombuffer(record, np.uint16)
    for cache in (records, tokens):
        cache.done()
        cache.merge()


def litdata(path: Path, workers: int = 0) -> Iterable[Batch]:
    """A StreamingDataset, by itself or in its own data loader; tokens in chunks shuffled whole."""
    from litdata import StreamingDataLoader, StreamingDataset
    from litdata.streaming.item_loader import TokensLoader

    words = {"item_loader": TokensLoader(RECORD.itemsize // 2), "item_shuffle_window": "full"}
    options = words if path.name == "tokens" else {}
    dataset = StreamingDataset(str(path), shuffle=True, **options)
    if not workers:
        return batches(dataset)
    return StreamingDataLoader(dataset, batch_size=BATCH, num_workers=workers, collate_fn=joined)


def write_mds(folder: Path, samples: Samples) -> None:
    """Records as one column of bytes."""
    from streaming import MDSWriter

    with MDSWriter(out=str(folder / "mds"), columns={"record": "bytes"}) as writer:
        for record in samples.records():
            writer.write({"record": record})


def mds(path: Path, workers: int = 0, by_rows: bool = False) -> Iterable[Batch]:
    """A StreamingDataset iterated, in its own data loader, or asked for lists of random rows."""
    from streaming import StreamingDataLoader, StreamingDataset
    from streaming.base.util import clean_stale_shared_memory

    def collate(parts: list[dict[str, bytes]]) -> Batch:
        return joined(part["record"] for part in parts)

    clean_stale_shared_memory()
    dataset = StreamingDataset(local=str(path), shuffle=True, batch_size=BATCH)
    if by_rows:
        return Rows(ROWS, lambda rows: collate(dataset[rows])).shuffled()
    if not workers:
        return batches(sample["record"] for sample in dataset)
    return StreamingDataLoader(
        dataset, batch_size=BATCH, num_workers=workers, collate_fn=collate, prefetch_factor=8
    )


def write_webdataset(folder: Path, samples: Samples) -> None:
    """Shards with a .npy member a sample, with one of bytes, and with one for 256 samples."""
    from webdataset import ShardWriter

    records = samples.records(SOME)
    kinds: dict[str, list[dict[str, Any]]] = {
        "arrays": [{"npy": np.frombuffer(record, np.uint8)} for record in records],
        "records": [{"bin": record} for record in records],
        "blocks": [{"bin": b"".join(records[n : n + BATCH])} for n in range(0, SOME, BATCH)],
    }
    for kind, members in kinds.items():
        (folder / kind).mkdir()
        names, shard = f"{folder / kind}/%04d.tar", len(members) // 20
        with ShardWriter(names, maxcount=shard, verbose=0) as writer:
            for number, member in enumerate(members):
                writer.write({"__key__": f"{number:06d}", **member})


def webdataset(path: Path, workers: int = 0, shards: Iterable[str] = ()) -> Iterable[Batch]:
    """Shuffled shards, a shuffle buffer of 5,000 samples, batches made where the tar is read."""
    import webdataset as wds

    def cut(block: bytes) -> list[bytes]:
        return [block[n : n + RECORD.itemsize] for n in range(0, len(block), RECORD.itemsize)]

    shards = [*shards] or sorted(map(str, path.iterdir()))
    made = wds.WebDataset(shards, shardshuffle=len(shards), seed=0).decode()
    made = made.map(lambda sample: sample.get("npy", sample.get("bin")))
    if path.name == "blocks":
        made = made.map(cut).unlisted()
    made = made.shuffle(5000).batched(BATCH, collation_fn=joined)
    return wds.WebLoader(made, batch_size=None, num_workers=workers) if workers else made


def write_datasets(folder: Path, samples: Samples) -> None:
    """One Arrow file of lists of fixed size."""
    import datasets
    import pyarrow as pa

    def lists(values: Array) -> pa.Array:
        return pa.FixedSizeListArray.from_arrays(pa.array(values.ravel()), values.shape[1])

    columns = {"leaves": lists(samples.leaves), "content": lists(samples.content)}
    table = datasets.table.InMemoryTable(pa.table(columns | {"label": pa.array(samples.label)}))
    datasets.disable_progress_bars()
    datasets.Dataset(table).save_to_disk(str(folder / "arrow"))


def hf_datasets(path: Path, kind: str, **shuffle: int) -> Iterable[Batch]:
    """The Dataset asked for lists of random rows, or streamed through a shuffle buffer."""
    import datasets

    dataset = datasets.load_from_disk(str(path))
    if not shuffle:
        dataset = dataset.with_format(kind)
        return Rows(ROWS, lambda rows: columns_of(dataset[rows])).shuffled()
    stream = dataset.to_iterable_dataset(num_shards=49).shuffle(seed=0, **shuffle)
    return map(columns_of, stream.with_format(kind).iter(BATCH))


def columns_of(part: Any) -> Batch:
    """The columns of an Arrow table as they lie, or the library's own tensors (64-bit integers)."""
    if isinstance(part, dict):
        leaves, content, label = part["leaves"], part["content"], part["label"]
        return leaves.to(torch.uint8), content.to(torch.uint16), label.to(torch.int32)
    leaves, content, label = (part[name].combine_chunks() for name in RECORD.names or ())
    leaves_BN = from_dlpack(leaves.flatten()).view(-1, LEAVES)
    content_BT = from_dlpack(content.flatten()).view(-1, TOKENS)
    return leaves_BN, content_BT, from_dlpack(label)


def write_files(folder: Path, samples: Samples) -> None:
    """One .npy file a sample."""
    for number, record in enumerate(samples.records(FEW)):
        np.save(folder / f"{number:06d}.npy", np.frombuffer(record, np.uint8))


def files(path: Path, load: Callable[[str], Array], workers: int = 0) -> Iterable[Batch]:
    """Random files."""
    names = [f"{path}/{row:06d}.npy" for row in range(FEW)]
    return Rows(FEW, lambda rows: joined([load(names[row]) for row in rows])).shuffled(workers)


def write_lines(folder: Path, samples: Samples) -> None:
    """One line of JSON a sample: a list of all its numbers."""
    parts = (samples.leaves[:FEW], samples.content[:FEW], samples.label[:FEW, None])
    (folder / "samples.jsonl").write_text("\n".join(map(json.dumps, np.hstack(parts).tolist())))


def lines(path: Path, workers: int = 0) -> Iterable[Batch]:
    """Random lines, found by their offsets."""
    file = os.open(path / "samples.jsonl", os.O_RDONLY)
    with open(path / "samples.jsonl", "rb") as whole:
        ends = np.cumsum([0] + [len(line) for line in whole]).tolist()

    def fetch(rows: list[int]) -> Batch:
        spans = [(ends[row + 1] - ends[row], ends[row]) for row in rows]
        numbers = torch.tensor([loads(os.pread(file, *span)) for span in spans], dtype=torch.int32)
        leaves, content, label = numbers.split([LEAVES, TOKENS, 1], 1)
        return leaves.to(torch.uint8), content.to(torch.uint16), label.flatten()

    return Rows(FEW, fetch).shuffled(workers)


LITDATA = [
    Way("records, shuffled in blocks of 256", "records", litdata),
    Way("TokensLoader", "tokens", litdata),
    Way("TokensLoader, 2 workers", "tokens", partial(litdata, workers=2)),
]
MDS = [
    Way("iterated", "mds", mds),
    Way("iterated, 2 workers", "mds", partial(mds, workers=2)),
    Way("lists of random rows", "mds", partial(mds, by_rows=True)),
]
WEBDATASET = [
    Way("a .npy member a sample", "arrays", webdataset),
    Way("a member of bytes a sample", "records", webdataset),
    Way("a member of bytes a sample, 2 workers", "records", partial(webdataset, workers=2)),
    Way("a member for 256 samples", "blocks", webdataset),
]
MIXED: dict[str, Any] = {"buffer_size": 65_536, "max_buffer_input_shards": 16}
DATASETS = [
    Way("lists of rows, torch", "arrow", partial(hf_datasets, kind="torch")),
    Way("lists of rows, arrow", "arrow", partial(hf_datasets, kind="arrow")),
    Way("buffer 1,000, torch", "arrow", partial(hf_datasets, kind="torch", buffer_size=1000)),
    Way("buffer 65,536, arrow", "arrow", partial(hf_datasets, kind="arrow", **MIXED)),
]
READ = partial(np.fromfile, dtype=np.uint8, offset=128)  # past the header
FILES = [
    Way("np.load", "", partial(files, load=np.load)),
    Way("np.fromfile", "", partial(files, load=READ)),
    Way("np.fromfile, 2 workers", "", partial(files, load=READ, workers=2)),
]
LINES = [Way(loads.__module__, "", lines), Way("2 workers", "", partial(lines, workers=2))]
PEERS = {
    "litdata": Reader("litdata", write_litdata, LITDATA),
    "MDS": Reader("mosaicml-streaming", write_mds, MDS),
    "WebDataset": Reader("webdataset", write_webdataset, WEBDATASET, SOME),
    "HF datasets": Reader("datasets", write_datasets, DATASETS),
    ".npy files": Reader("numpy", write_files, FILES, FEW),
    "JSONL": Reader("numpy", write_lines, LINES, FEW),
}
