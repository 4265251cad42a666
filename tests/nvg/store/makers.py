"""Small stores of random rows, whole or in parts, and damage to them."""

import hashlib
import json
import os
from collections.abc import Collection, Sequence
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import fsspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch

from nvg.files import is_local, json_bytes
from nvg.format.base import ARRAYS, CODEC, FEATURES, Arrays
from nvg.format.manifest import FeatureInfo, Manifest
from nvg.format.shard_file import chunk_places, tail_length
from nvg.geometry import Geometry
from nvg.store import Store, StoreWriter, open_store
from nvg.store.feature_codec import FeatureCodec, fit_codec
from nvg.store.layout import create_store, require_free
from nvg.store.sharded import ShardedStore
from nvg.store.shards import index_name
from nvg.tokenizer.config import AutoencoderConfig
from nvg.weights import fingerprint, weights_bytes
from tests.makers import CLASSES, files_below
from tests.nvg.structure.kinds import random_leaves
from tests.nvg.tokenizer.makers import tiny_autoencoder, tiny_model


@cache
def tokenizer_files(config: AutoencoderConfig) -> tuple[dict[str, bytes], str]:
    """The two weights files that every store carries, untrained, and their fingerprint."""
    model = tiny_autoencoder(0, config)
    facts = {"tokenizer": fingerprint(model)}
    whole = model.state_dict()
    decoding = {name: weight for name, weight in whole.items() if not name.startswith("encoder.")}
    files = {
        "tokenizer.safetensors": weights_bytes(model.quantizer.state_dict(), config, **facts),
        "detokenizer.safetensors": weights_bytes(decoding, config, **facts),
    }
    return files, facts["tokenizer"]


def empty_store(
    path: Path | str,
    rows: int,
    views: int = 1,
    *,
    grid: int = 4,
    chunk_rows: int = 4,
    codebook_size: int = 16,
    latent_dim: int = 4,
    classes: Sequence[str] = CLASSES,
    codec: FeatureCodec | None = None,
    val_rows: int = 0,
    shard_rows: int | None = 8,
) -> StoreWriter:
    """A store without any chunk yet, with the weights of an untrained tokenizer.

    With a codec it also has an array of features. Without rows of a shard it is of version 1.
    """
    config = tiny_model(grid, codebook_size, latent_dim)
    (files, tokenizer), features = tokenizer_files(config), None
    if codec:
        files = {**files, CODEC: codec.to_bytes()}
        features = FeatureInfo(model="none", sha256="0" * 64, kept=1.0, **vars(codec.shape))
    manifest = Manifest(
        grid=grid,
        K=Geometry(grid).K,
        codebook_size=codebook_size,
        latent_dim=latent_dim,
        builder="greedy",
        rows=rows,
        val_rows=val_rows,
        chunk_rows=chunk_rows,
        shard_rows=shard_rows and -(-shard_rows // chunk_rows) * chunk_rows,
        version=2 if shard_rows else 1,
        views=("center", "flip")[:views],
        image_size=config.image_size,
        preprocessing="adm-center-crop",
        classes=tuple(classes),
        source="0" * 64,
        tokenizer=tokenizer,
        features=features,
        recipe={},
        versions={},
    )
    return create_store(str(path), manifest, files)


def random_arrays(store: Store, seed: int = 0, bad: Collection[int] = ()) -> Arrays:
    """Random valid leaves, content, label, and features where kept; zeros in the `bad` rows."""
    rng = np.random.default_rng(seed)
    manifest, geometry = store.manifest, store.geometry
    shape = (len(store), len(manifest.views))
    content = rng.integers(manifest.codebook_size, size=(*shape, geometry.tokens), dtype=np.uint16)
    leaves = random_leaves(rng, shape, geometry.grid)
    leaves[list(bad)], content[list(bad)] = 0, 0
    label = rng.integers(len(manifest.classes), size=len(store), dtype=np.int32)
    arrays = {"leaves": leaves, "content": content, "label": label}
    if manifest.features:
        shape = (*leaves.shape, manifest.features.dims)
        arrays[FEATURES] = rng.integers(256, size=shape, dtype=np.uint8)
        arrays[FEATURES][list(bad)] = 0
    return arrays


def index_table(
    store: Store,
    arrays: Arrays,
    bad: Collection[int] = (),
    val: Collection[int] = (),
    key: str = "image",
) -> pa.Table:
    """The index that belongs to `random_arrays`: row n has the key image-n and is 16x16."""
    rows = range(len(store))
    label = arrays["label"].tolist()
    error = [1.0 / (stage + 1) for stage in range(store.geometry.stages)]
    return pa.table(
        {
            "row": pa.array(rows, pa.int64()),
            "key": [f"{key}-{row}" for row in rows],
            "label": pa.array(label, pa.int32()),
            "class": [store.manifest.classes[number] for number in label],
            "width": pa.array([16] * len(store), pa.int32()),
            "height": pa.array([16] * len(store), pa.int32()),
            "status": ["error" if row in bad else "ok" for row in rows],
            "reason": ["not an image" if row in bad else "" for row in rows],
            "stage_error": pa.array(
                [None if row in bad else error for row in rows], pa.list_(pa.float32())
            ),
            "split": ["val" if row in val else "train" for row in rows],
        }
    )


def write_rows(store: StoreWriter, chunk: int, arrays: Arrays, index: pa.Table) -> None:
    """Write one chunk of a store from the arrays and the index of all its rows."""
    rows = store.chunk_slice(chunk)
    part = {name: values[rows] for name, values in arrays.items()}
    store.write_chunk(chunk, part, index.slice(rows.start, rows.stop - rows.start))


def random_codec(width: int = 12, dims: int = 3) -> FeatureCodec:
    """A codec fitted to random features, some of whose channels vary more than others."""
    generator = torch.Generator().manual_seed(0)
    scale = torch.linspace(3, 0.1, width)
    return fit_codec(scale * torch.randn(40 * dims, width, generator=generator), dims)


def write_store(
    path: Path | str,
    rows: int = 10,
    views: int = 1,
    *,
    seed: int = 0,
    bad: Collection[int] = (),
    val: Collection[int] = (),
    key: str = "image",
    **sizes: Any,
) -> Store:
    """A finished store of random rows, some of them error rows, some held out; `sizes` as
    empty_store."""
    store = empty_store(path, rows, views, val_rows=len(val), **sizes)
    arrays = random_arrays(store, seed, bad)
    index = index_table(store, arrays, bad, val, key)
    for chunk in range(store.chunks):
        write_rows(store, chunk, arrays, index)
    store.finish()
    return store


_WRITTEN: dict[str, dict[str, bytes]] = {}


def make_store(path: Path | str, rows: int = 10, views: int = 1, **options: Any) -> Store:
    """The same, for tests that do not ask how it is written: a copy where there was one before.

    That takes a tenth of the time.
    """
    told = {
        name: value.to_bytes() if isinstance(value, FeatureCodec) else value
        for name, value in sorted(options.items())
    }
    key = repr((rows, views, told))
    if key not in _WRITTEN:
        with TemporaryDirectory() as folder:
            _WRITTEN[key] = files_below(write_store(folder, rows, views, **options).path)
    require_free(str(path), "make another")
    _put(str(path), _WRITTEN[key])
    return open_store(str(path))


def _put(path: str, files: dict[str, bytes]) -> None:
    """Write files below a path or a URL; on a disk one by one, which has no reader yet."""
    fs, root = fsspec.core.url_to_fs(path)
    folders = {f"{root}/{name}".rpartition("/")[0] for name in files}
    for folder in folders if is_local(fs) else ():
        os.makedirs(folder, exist_ok=True)
    for name, data in files.items():
        if is_local(fs):
            Path(root, name).write_bytes(data)
        else:
            fs.pipe_file(f"{root}/{name}", data)


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def flip_chunk(path: Path, array: str, chunk: int) -> None:
    """Change a byte of one chunk of an array, whichever file it is in."""
    store = open_store(str(path))
    if not isinstance(store, ShardedStore):
        flip(chunk_file(path, array, chunk))
        return
    shard, inside = divmod(chunk, store.per_shard)
    file = chunk_file(path, array, shard)
    data = bytearray(file.read_bytes())
    places = chunk_places(bytes(data[-tail_length(store.per_shard) :]), store.per_shard)
    start, length = places[inside].tolist()
    data[start + length // 2] ^= 1
    file.write_bytes(data)


def chunk_file(store: Path, array: str, chunk: int) -> Path:
    """The file that Zarr keeps a chunk in; of a store of version 2 a shard."""
    place = store / array / "c" / str(chunk)
    return place if place.is_file() else next(path for path in place.rglob("*") if path.is_file())


def swap_chunks(store: Path, array: str) -> None:
    """Chunks 1 and 2 of an array change places; each is sound by itself."""
    one, other = (chunk_file(store, array, chunk) for chunk in (1, 2))
    data = one.read_bytes()
    one.write_bytes(other.read_bytes())
    other.write_bytes(data)


def same_arrays(store: Store, arrays: Arrays) -> bool:
    """Whether the store holds exactly these arrays, dtype included."""
    pairs = [(store.group[name][:], arrays[name]) for name in ARRAYS]
    return all(a.dtype == b.dtype and np.array_equal(a, b) for a, b in pairs)


def change_manifest(store: Store, **fields: object) -> None:
    """Set fields of the manifest on disk, with checksums, as one who means it would."""
    file = Path(store.path, "manifest.json")
    table = json.loads(file.read_text()) | fields
    write_sealed(file, table)


def write_sealed(file: Path, table: dict[str, Any]) -> None:
    """Write a manifest whose checksums are those of its fields."""
    table.pop("sha256", None)
    sums = {name: hashlib.sha256(json_bytes(value)).hexdigest() for name, value in table.items()}
    file.write_bytes(json_bytes({**table, "sha256": sums}))


def rewrite_index(store: Store, table: pa.Table) -> None:
    """Replace the index of a store on disk."""
    if not isinstance(store, ShardedStore):
        pq.write_table(table, Path(store.path, "index.parquet"))
        return
    for shard in range(store.shards):
        rows = store.shard_slice(shard)
        part = table.slice(rows.start, rows.stop - rows.start)
        pq.write_table(part, Path(store.path, index_name(shard)))


def empty_plain_store(path: Path | str, rows: int, views: int = 1, **sizes: Any) -> StoreWriter:
    """An empty store of version 1, whose chunks are files of their own."""
    return empty_store(path, rows, views, shard_rows=None, **sizes)


def make_plain_store(path: Path | str, rows: int = 10, views: int = 1, **sizes: Any) -> Store:
    """A finished store of version 1."""
    return make_store(path, rows, views, shard_rows=None, **sizes)
