"""Lay out an empty store: manifest, weights and empty arrays (docs/FORMAT.md)."""

import hashlib
from collections.abc import Collection
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import zarr
from zarr.codecs import BloscCodec, Crc32cCodec
from zarr.errors import ContainsArrayError, ContainsGroupError

from nvg.files import is_local, require_outside_stores, storage, write_bytes
from nvg.format.base import StoreError
from nvg.format.manifest import Manifest
from nvg.format.schema import array_shapes
from nvg.format.shard_file import COMPRESSOR, LEVEL
from nvg.store.repair import damaged_weights
from nvg.store.shard_writer import open_writer
from nvg.store.store import store_exists
from nvg.store.writer import StoreWriter


def create_store(path: str, manifest: Manifest, files: dict[str, bytes]) -> StoreWriter:
    """Lay out an empty store: manifest, then what `complete_layout` adds.

    `files` are the weights that the store carries. StoreError if something is there.
    """
    path = str(path).rstrip("/")
    require_free(path, "continue it with --resume")
    fs, root = storage(path)
    weights = {name: hashlib.sha256(data).hexdigest() for name, data in files.items()}
    empty = replace(manifest, weights=weights, finished=False, errors=0)
    write_bytes(fs, f"{root}/manifest.json", empty.sealed().to_bytes())
    store = open_writer(path)
    complete_layout(store, files)
    return store


def require_free(path: str, remedy: str, left: Collection[str] = ()) -> None:
    """StoreError where something is at `path`; the remedy is for a store that is there.

    Files named `left`, which a killed writer leaves before its manifest, are not in the way.
    """
    fs, root = storage(path)
    if store_exists(path):
        raise StoreError(f"{path} exists: {remedy}, or choose another --out")
    if is_local(fs):
        require_outside_stores(Path(root))
    own = {f"{root}/{name}" for name in left}
    if fs.exists(root) and any(n not in own and not n.endswith(".tmp") for n in fs.find(root)):
        raise StoreError(f"{path} is not empty and no store: remove it, or choose another --out")


def complete_layout(store: StoreWriter, files: dict[str, bytes]) -> None:
    """Add the weights and arrays that are missing or damaged, as after a kill in between."""
    for name in damaged_weights(store):
        if hashlib.sha256(files[name]).hexdigest() != store.manifest.weights[name]:
            raise StoreError(
                f"{store.path} has lost its {name}, which comes out differently now: tokenize again"
            )
        store.write(name, files[name])
    group: Any
    try:
        group = zarr.open_group(store.path, mode="a")
    except ContainsGroupError:  # another job has just made the same
        group = zarr.open_group(store.path, mode="r+")
    for name, (dtype, shape) in array_shapes(store.manifest).items():
        store.require_inside(f"{name}/zarr.json")
        if name in group and group[name].shape != shape:  # of a store that is being extended
            group[name].resize(shape)
        if name in group:
            continue
        shards = store.manifest.shard_rows
        codec = BloscCodec(cname="zstd", clevel=5, shuffle="bitshuffle")
        if shards is not None:
            codec = BloscCodec(cname=COMPRESSOR, clevel=LEVEL, shuffle="bitshuffle")
        with suppress(ContainsArrayError):  # another job has just made the same
            group.create_array(
                name,
                shape=shape,
                chunks=(store.manifest.chunk_rows, *shape[1:]),
                shards=None if shards is None else (shards, *shape[1:]),
                dtype=dtype,
                fill_value=0,
                compressors=[codec, Crc32cCodec()],
            )
