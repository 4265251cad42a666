"""What may be wrong with a store, as functions that change one; for each version of the format."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from nvg.format.base import Arrays
from nvg.format.shard_file import shard_bytes
from nvg.store import open_store, open_writer
from tests.nvg.store.makers import (
    index_table,
    random_arrays,
    rewrite_index,
    write_rows,
    write_sealed,
)

Mutation = Callable[[Path], None]
PART = "index/00001.parquet"


def manifest(**fields: Any) -> Mutation:
    """Other fields (None: without it), sealed as a writer who means it would."""

    def change(store: Path) -> None:
        table = json.loads((store / "manifest.json").read_text()) | fields
        write_sealed(store / "manifest.json", {k: v for k, v in table.items() if v is not None})

    return change


def values(change: Callable[[Arrays], None]) -> Mutation:
    """Other tokens, committed as if they were right."""

    def rewrite(path: Path) -> None:
        store = open_writer(str(path))
        arrays = random_arrays(store)
        index = index_table(store, arrays)
        change(arrays)
        store.withdraw_chunks(range(store.chunks))
        for chunk in range(store.chunks):
            write_rows(store, chunk, arrays, index)
        store.finish()

    return rewrite


def put(name: str, index: Any, value: int) -> Mutation:
    """Another value in an array."""
    return values(lambda arrays: arrays[name].__setitem__(index, value))


def text(name: str, content: bytes) -> Mutation:
    """Another file."""

    def write(store: Path) -> None:
        (store / name).write_bytes(content)

    return write


def cut(name: str) -> Mutation:
    """Half of a file."""

    def halve(store: Path) -> None:
        data = (store / name).read_bytes()
        (store / name).write_bytes(data[: len(data) // 2])

    return halve


def zarr(name: str, **fields: Any) -> Mutation:
    """Another description of an array."""

    def change(store: Path) -> None:
        file = store / name / "zarr.json"
        file.write_text(json.dumps(json.loads(file.read_text()) | fields))

    return change


def table(change: Callable[[pa.Table], pa.Table]) -> Mutation:
    """Another index."""

    def rewrite(path: Path) -> None:
        store = open_store(str(path))
        rewrite_index(store, change(store.index))

    return rewrite


def lose(name: str) -> Mutation:
    """A file or folder is gone."""

    def remove(store: Path) -> None:
        shutil.rmtree(store / name) if (store / name).is_dir() else (store / name).unlink()

    return remove


def endless(name: str) -> Mutation:
    """A sparse file of a terabyte."""

    def lengthen(store: Path) -> None:
        with (store / name).open("r+b") as file:
            file.truncate(1 << 40)

    return lengthen


def swap(store: Path) -> None:
    """Two chunks of tokens change places."""
    one, other = (store / "content/c" / n / "0/0" for n in "01")
    data = one.read_bytes()
    one.write_bytes(other.read_bytes())
    other.write_bytes(data)


def alike(store: Path) -> None:
    """Two parts of the index are one."""
    shutil.copy(store / "index/00000.parquet", store / PART)


def swap_in_shard(path: Path) -> None:
    """The same of two chunks of a shard, whose places are written anew."""
    store = open_store(str(path))
    tokens = np.concatenate([store.stored("content", chunk) for chunk in (1, 0)])
    (path / "content/c/0/0/0").write_bytes(shard_bytes(tokens, 4, 8))


FIELDS: tuple[dict[str, Any], ...] = (
    {"grid": 8},
    {"grid": 5},
    {"grid": "4"},
    {"grid": 8, "K": 6},
    {"grid": 1 << 40},
    {"K": 7},
    {"views": []},
    {"views": ["center", "flip"]},
    {"classes": None},
    {"classes": 3},
    {"classes": ["ant"]},
    {"classes": ["ant", "bee", "dog"]},
    {"builder": "os:system"},
    {"builder": "no such"},
    {"rows": -1},
    {"rows": 9},
    {"rows": 10**12},
    {"rows": 10**9},
    {"rows": None},
    {"chunk_rows": 0},
    {"chunk_rows": 5},
    {"chunk_rows": 10**9},
    {"codebook_size": 8},
    {"codebook_size": 10**9},
    {"latent_dim": 8},
    {"image_size": 16},
    {"errors": 1},
    {"val_rows": 1},
    {"version": 2},
    {"weights": {"../a": "0"}},
    {"weights": {"tokenizer.safetensors": "0"}},
    {"features": {"model": "a", "sha256": "0", "dims": 1, "width": 1, "kept": 1.0}},
)
MUTATIONS: dict[str, Mutation] = {
    **{f"manifest {fields}": manifest(**fields) for fields in FIELDS},
    "manifest deep": text("manifest.json", b"[" * 100_000),
    "manifest empty": text("manifest.json", b"{}"),
    "manifest endless": endless("manifest.json"),
    "record endless": endless("commits/00000.json"),
    "weights endless": endless("tokenizer.safetensors"),
    "token beyond the codebook": put("content", (3, 0, 5), 9999),
    "label beyond the classes": put("label", 3, 7),
    "leaf twice": values(lambda a: a["leaves"].__setitem__((3, 0, 0), a["leaves"][3, 0, 1])),
    "chunks swapped": swap,
    "root zarr {}": text("zarr.json", b"{}"),
    "root zarr lost": lose("zarr.json"),
    "array lost": lose("content"),
    "array zarr {}": text("leaves/zarr.json", b"{}"),
    "array longer": zarr("content", shape=[10**12, 1, 31]),
    "array of other type": zarr("leaves", data_type="uint16"),
    "array of other codec": zarr("label", codecs=[{"name": "bytes"}]),
    "record {}": text("commits/00000.json", b"{}"),
    "record lost": lose("commits/00001.json"),
    "record of no chunk": text("commits/00007.json", b"{}"),
    "index cut": cut("index.parquet"),
    "index lost": lose("index.parquet"),
    "index without keys": table(lambda index: index.drop_columns("key")),
    "index short": table(lambda index: index.slice(0, 9)),
    "index of text": table(lambda index: index.set_column(0, "row", index["key"])),
    "index of other keys": table(
        lambda index: index.set_column(1, "key", pa.array([f"x{n}" for n in range(10)]))
    ),
    "codebook cut": cut("tokenizer.safetensors"),
    "codebook with a huge header": text("tokenizer.safetensors", b"\xff" * 7 + b"\x0f" + b"{" * 9),
    "decoder cut": cut("detokenizer.safetensors"),
    "decoder lost": lose("detokenizer.safetensors"),
}
SHARDED: dict[str, Mutation] = {
    **MUTATIONS,
    "index endless": endless(PART),
    "counts endless": endless("chunks.parquet"),
    f"manifest { {'version': 2} }": manifest(version=1),
    **{
        f"manifest {fields}": manifest(**fields)
        for fields in (
            {"shard_rows": None},
            {"shard_rows": 7},
            {"shard_rows": 12},
            {"shard_rows": 10**12 * 4},
            {"counts": None},
            {"counts": "0" * 64},
        )
    },
    "chunks swapped": swap_in_shard,
    "shard {}": text("content/c/0/0/0", b"{}"),
    "shard cut": cut("content/c/0/0/0"),
    "shard lost": lose("content/c/0/0/0"),
    "index cut": cut(PART),
    "index lost": lose(PART),
    "counts cut": cut("chunks.parquet"),
    "counts lost": lose("chunks.parquet"),
    "parts alike": alike,
}
