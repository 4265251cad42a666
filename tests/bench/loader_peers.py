"""Other ways to store and read the samples, each as its own documentation advises for speed.

Libraries are imported inside functions, so that none of them need be installed. A sample is given
to a library as one record of bytes wherever that is faster than a field at a time.
"""

import json
import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader

ROWS, FEW, BATCH = 200_000, 20_000, 256  # few where writing them all would take minutes
LEAVES, TOKENS = 256, 511
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

    def records(self, rows: int = ROWS) -> Array:
        """The first rows as structured records."""
        made = np.empty(rows, RECORD)
        made["leaves"], made["content"] = self.leaves[:rows], self.content[:rows]
        made["label"] = self.label[:rows]
        return made


@dataclass(frozen=True)
class Way:
    """One setting of a reader: its name, its folder below the reader's, how an epoch begins."""

    setting: str
    files: str
    open: Callable[[Path], Iterable[Batch]]
    chunk: int = 1024
    """Rows that lie together, in which the mixing of a batch is counted."""


@dataclass(frozen=True)
class Reader:
    """A package, how it writes the samples below a folder, and its settings."""

    package: str
    write: Callable[[Path, Samples], None]
    ways: list[Way]
    rows: int = ROWS


def tensors(records: Array) -> Batch:
    """Structured records as three tensors."""
    leaves, content, label = (
        torch.from_numpy(np.ascontiguousarray(records[name])) for name in RECORD.fields or ()
    )
    return leaves, content, label


def joined(parts: Iterable[bytes]) -> Batch:
    """One batch of records."""
    return tensors(np.frombuffer(b"".join(parts), RECORD))


def batches(samples: Iterable[Any], collate: Callable[[list[Any]], Batch]) -> Iterator[Batch]:
    """Batches in this process."""
    iterator = iter(samples)
    while part := list(islice(iterator, BATCH)):
        yield collate(part)


def write_litdata(folder: Path, samples: Samples) -> None:
    """Records as bytes, and as blocks of 16-bit tokens."""
    from litdata.streaming import Cache
    from litdata.streaming.item_loader import TokensLoader

    words = RECORD.itemsize // 2
    tokens = Cache(str(folder / "tokens"), chunk_bytes="64MB", item_loader=TokensLoader(words))
    records = Cache(str(folder / "records"), chunk_bytes="8MB")
    for number, record in enumerate(samples.records()):
        records[number] = record.tobytes()
        tokens[number] = np.frombuffer(record.tobytes(), np.uint16)
    for cache in (records, tokens):
        cache.done()
        cache.merge()


def litdata(path: Path, workers: int = 0, **options: Any) -> Iterable[Batch]:
    """A StreamingDataset of either kind, by itself or in its own data loader."""
    from litdata import StreamingDataLoader, StreamingDataset
    from litdata.streaming.item_loader import TokensLoader

    collate: Callable[[list[Any]], Batch] = joined
    if path.name == "tokens":
        options["item_loader"] = TokensLoader(RECORD.itemsize // 2)
        collate = lambda parts: tensors(np.concatenate(parts).view(RECORD))  # noqa: E731
    dataset = StreamingDataset(str(path), shuffle=True, **options)
    if not workers:
        return batches(dataset, collate)
    return StreamingDataLoader(dataset, BATCH, num_workers=workers, collate_fn=collate)


LITDATA = [
    Way("records, 8 MB, shuffled in blocks of 256", "records", litdata),
    Way(
        "records, 8 MB, chunks shuffled whole",
        "records",
        partial(litdata, item_shuffle_window="full", batch_decode=0),
    ),
    Way("TokensLoader, 64 MB", "tokens", partial(litdata, item_shuffle_window="full")),
    Way(
        "TokensLoader, 64 MB, 2 workers",
        "tokens",
        partial(litdata, workers=2, item_shuffle_window="full"),
    ),
]


def write_mds(folder: Path, samples: Samples) -> None:
    """Arrays of fixed shape as columns, and records as one column of bytes."""
    from streaming import MDSWriter

    columns = {"leaves": "ndarray:uint8:256", "content": "ndarray:uint16:511", "label": "int32"}
    with (
        MDSWriter(out=str(folder / "fields"), columns=columns) as fields,
        MDSWriter(out=str(folder / "records"), columns={"record": "bytes"}) as records,
    ):
        for record in samples.records():
            fields.write({name: record[name] for name in columns})
            records.write({"record": record.tobytes()})


def mds(path: Path, workers: int = 0, is_random: bool = False, **options: Any) -> Iterable[Batch]:
    """A StreamingDataset iterated, in its own data loader, or read by lists of rows."""
    from streaming import StreamingDataLoader, StreamingDataset
    from streaming.base.util import clean_stale_shared_memory

    clean_stale_shared_memory()
    dataset = StreamingDataset(local=str(path), shuffle=True, batch_size=BATCH, **options)

    def collate(parts: list[dict[str, Any]]) -> Batch:
        if path.name == "records":
            return joined(part["record"] for part in parts)
        leaves, content = (
            torch.from_numpy(np.stack([part[name] for part in parts]))
            for name in ("leaves", "content")
        )
        return leaves, content, torch.tensor([part["label"] for part in parts], dtype=torch.int32)

    if is_random:
        order = np.random.default_rng(0).permutation(ROWS)
        return (collate(dataset[order[n : n + BATCH]]) for n in range(0, ROWS, BATCH))
    if not workers:
        return batches(dataset, collate)
    return StreamingDataLoader(
        dataset, batch_size=BATCH, num_workers=workers, collate_fn=collate, prefetch_factor=8
    )


MDS = [
    Way("ndarray columns", "fields", mds),
    Way("records", "records", mds),
    Way("records, predownload of all", "records", partial(mds, predownload=ROWS)),
    Way("records, read by lists of rows", "records", partial(mds, is_random=True)),
    Way("records, 2 workers", "records", partial(mds, workers=2)),
]
WEBDATASET_ROWS = 50_000


def write_webdataset(folder: Path, samples: Samples) -> None:
    """Shards of .npy and .cls members, and of one member of bytes a sample."""
    from webdataset import ShardWriter

    shards = [folder / name for name in ("fields", "records")]
    for shard in shards:
        shard.mkdir()
    fields, records = (
        ShardWriter(f"{shard}/%04d.tar", maxcount=2500, verbose=0) for shard in shards
    )
    for number, record in enumerate(samples.records(WEBDATASET_ROWS)):
        key = {"__key__": f"{number:08d}"}
        leaves, content, label = (record[name] for name in RECORD.fields or ())
        fields.write(key | {"leaves.npy": leaves, "content.npy": content, "label.cls": int(label)})
        records.write(key | {"record.bin": record.tobytes()})
    fields.close()
    records.close()


def webdataset(path: Path, workers: int = 0) -> Iterable[Batch]:
    """Shuffled shards, a shuffle buffer of 5,000, batches made where the tar is read."""
    import webdataset as wds

    def stacked(parts: list[tuple[Array, Array, int]]) -> Batch:
        leaves, content, label = zip(*parts, strict=True)
        label_B = torch.tensor(label, dtype=torch.int32)
        return torch.from_numpy(np.stack(leaves)), torch.from_numpy(np.stack(content)), label_B

    shards = sorted(map(str, path.iterdir()))
    samples = wds.WebDataset(shards, shardshuffle=len(shards), seed=0).shuffle(5000)
    if path.name == "fields":
        fields = samples.decode().to_tuple("leaves.npy", "content.npy", "label.cls")
        made = fields.batched(BATCH, collation_fn=stacked)
    else:
        firsts = lambda parts: joined(record for (record,) in parts)  # noqa: E731
        made = samples.to_tuple("record.bin").batched(BATCH, collation_fn=firsts)
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


def datasets_map(path: Path, kind: str) -> Iterator[Batch]:
    """The map-style Dataset, shuffled by its table of indices."""
    import datasets

    shuffled = datasets.load_from_disk(str(path)).shuffle(seed=0, keep_in_memory=True)
    return map(batch_of, shuffled.with_format(kind).iter(BATCH))


def datasets_stream(path: Path, kind: str, shards: int, **shuffle: int) -> Iterator[Batch]:
    """The IterableDataset with a shuffle buffer that several shards fill."""
    import datasets

    stream = datasets.load_from_disk(str(path)).to_iterable_dataset(num_shards=shards)
    return map(batch_of, stream.shuffle(seed=0, **shuffle).with_format(kind).iter(BATCH))


def batch_of(part: Any) -> Batch:
    """Columns of an Arrow table as they lie, or the library's own tensors of 64-bit integers."""
    if isinstance(part, dict):
        return (
            part["leaves"].to(torch.uint8),
            part["content"].to(torch.uint16),
            part["label"].to(torch.int32),
        )
    leaves, content = (
        torch.from_dlpack(part[name].combine_chunks().flatten()) for name in ("leaves", "content")
    )
    label = torch.from_dlpack(part["label"].combine_chunks())
    return leaves.view(-1, LEAVES), content.view(-1, TOKENS), label


DATASETS = [
    Way("map-style, torch format", "arrow", partial(datasets_map, kind="torch")),
    Way("map-style, arrow format", "arrow", partial(datasets_map, kind="arrow")),
    Way(
        "64 shards, buffer 1,000, torch format",
        "arrow",
        partial(datasets_stream, kind="torch", shards=64),
    ),
    Way(
        "49 shards, buffer 65,536 of 16, arrow format",
        "arrow",
        partial(
            datasets_stream, kind="arrow", shards=49, buffer_size=65_536, max_buffer_input_shards=16
        ),
    ),
    Way(
        "16 shards, buffer 16,384 of 16, arrow format",
        "arrow",
        partial(
            datasets_stream, kind="arrow", shards=16, buffer_size=16_384, max_buffer_input_shards=16
        ),
    ),
]


def write_files(folder: Path, samples: Samples) -> None:
    """One .npy file a sample, and one line of JSON."""
    (folder / "npy").mkdir()
    (folder / "jsonl").mkdir()
    with open(folder / "jsonl" / "samples.jsonl", "w") as file:
        for number, record in enumerate(samples.records(FEW)):
            np.save(folder / "npy" / f"{number:06d}.npy", np.frombuffer(record.tobytes(), np.uint8))
            line = {name: record[name].tolist() for name in RECORD.fields or ()}
            file.write(json.dumps(line) + "\n")


class Files:
    """A map-style dataset that makes whole batches."""

    def __init__(self, path: Path, load: str) -> None:
        self.path, self.load = path, load

    def __len__(self) -> int:
        return FEW

    def __getitems__(self, rows: list[int]) -> Batch:
        names = [f"{self.path}/{row:06d}.npy" for row in rows]
        if self.load == "np.load":
            return tensors(np.stack([np.load(name) for name in names]).view(RECORD)[:, 0])
        parts = []
        for name in names:
            with open(name, "rb", buffering=0) as file:
                parts.append(file.read()[128:])
        return joined(parts)


class Lines:
    """Lines."""

    def __init__(self, path: Path, load: str) -> None:
        self.file = os.open(path / "samples.jsonl", os.O_RDONLY)
        sizes = [len(line) for line in open(path / "samples.jsonl", "rb")]
        self.ends = np.cumsum(sizes).tolist()
        self.starts = [0, *self.ends]
        self.load = load

    def __len__(self) -> int:
        return FEW

    def __getitems__(self, rows: list[int]) -> Batch:
        if self.load == "orjson":
            import orjson

            loads = orjson.loads
        else:
            loads = json.loads
        found = [
            loads(os.pread(self.file, self.ends[row] - self.starts[row], self.starts[row]))
            for row in rows
        ]
        return (
            torch.tensor([x["leaves"] for x in found], dtype=torch.uint8),
            torch.from_numpy(np.array([x["content"] for x in found], np.uint16)),
            torch.tensor([x["label"] for x in found], dtype=torch.int32),
        )


def loaded(path: Path, kind: Any, load: str, workers: int = 0) -> Iterable[Batch]:
    return DataLoader(
        kind(path, load), BATCH, shuffle=True, num_workers=workers, collate_fn=lambda b: b
    )


NPY = [
    Way("np.load", "npy", partial(loaded, kind=Files, load="np.load")),
    Way("np.load, 2 workers", "npy", partial(loaded, kind=Files, load="np.load", workers=2)),
    Way("read", "npy", partial(loaded, kind=Files, load="read")),
    Way("read, 2 workers", "npy", partial(loaded, kind=Files, load="read", workers=2)),
]
JSONL = [
    Way("json", "jsonl", partial(loaded, kind=Lines, load="json")),
    Way("json, 2 workers", "jsonl", partial(loaded, kind=Lines, load="json", workers=2)),
    Way("orjson", "jsonl", partial(loaded, kind=Lines, load="orjson")),
    Way("orjson, 2 workers", "jsonl", partial(loaded, kind=Lines, load="orjson", workers=2)),
]
WEBDATASET = [
    Way(".npy and .cls members", "fields", webdataset),
    Way(".npy and .cls members, 2 workers", "fields", partial(webdataset, workers=2)),
    Way("one member of bytes", "records", webdataset),
    Way("one member of bytes, 2 workers", "records", partial(webdataset, workers=2)),
]
PEERS = {
    "litdata": Reader("litdata", write_litdata, LITDATA),
    "MDS": Reader("mosaicml-streaming", write_mds, MDS),
    "WebDataset": Reader("webdataset", write_webdataset, WEBDATASET, WEBDATASET_ROWS),
    "HF datasets": Reader("datasets", write_datasets, DATASETS),
    "npy": Reader("numpy", write_files, NPY, FEW),
    "jsonl": Reader("numpy", write_files, JSONL, FEW),
}
