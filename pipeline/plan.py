"""Recipe -> deterministic list of chunk tasks, and the manifest they fill. Pure but for listing."""

import hashlib
import platform
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from nvg import __version__
from nvg.autoencoder import Autoencoder
from nvg.checkpoint import fingerprint, weights_bytes
from nvg.config import as_table
from nvg.detokenize import WEIGHTS
from nvg.files import write_bytes
from nvg.progress import note, progress
from nvg.repair import sweep, withdraw_damaged
from nvg.store import FEATURES, ORDER, Store, StoreError, open_store, read_parquet, store_exists
from nvg.store_layout import complete_layout, create_store
from pipeline.recipe import Recipe
from pipeline.segments import open_segments
from pipeline.sources import Row, Source, digest, split_rows
from pipeline.views import Crops

PACKAGES = ("torch", "numpy", "numba", "pillow", "zarr", "pyarrow")


@dataclass(frozen=True)
class Plan:
    """Which images become the rows of a store, in which order, and the names of their classes."""

    rows: list[Row]
    classes: list[str]
    is_extended: bool = False


@dataclass(frozen=True)
class ChunkTask:
    """One chunk: which rows of the store it fills, from which images."""

    chunk: int
    start: int
    rows: tuple[Row, ...]


def plan_chunks(rows: list[Row], chunk_rows: int) -> list[ChunkTask]:
    """Consecutive runs of `chunk_rows` rows, in order; the last may be shorter."""
    return [
        ChunkTask(chunk, start, tuple(rows[start : start + chunk_rows]))
        for chunk, start in enumerate(range(0, len(rows), chunk_rows))
    ]


def plan_rows(recipe: Recipe, source: Source, out: str = "") -> Plan:
    """The rows a recipe asks for, or those that an extended store at `out` has or is to have."""
    if out and store_exists(out) and "order" in (store := open_store(out, writable=True)).manifest:
        return Plan(_kept_order(store), list(store.manifest["classes"]), is_extended=True)
    return Plan(split_rows(source.rows, recipe.data.heldout)[0], source.classes)


def order_bytes(rows: list[Row]) -> bytes:
    """The file that keeps the order of an extended store's rows."""
    table = pa.table(
        {"key": [row.key for row in rows], "label": pa.array([r.label for r in rows], pa.int32())}
    )
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, compression="zstd")
    data: bytes = sink.getvalue().to_pybytes()
    return data


def _kept_order(store: Store) -> list[Row]:
    """The rows of an extended store; a lost list is made anew from the index of a finished one."""
    try:
        data = store.read(ORDER)
    except FileNotFoundError:
        data = b""
    if hashlib.sha256(data).hexdigest() == store.manifest["order"]:
        return _rows(read_parquet(data))
    if store.finished:
        rows = _rows(store.index)
        data = order_bytes(rows)
        if hashlib.sha256(data).hexdigest() == store.manifest["order"]:
            write_bytes(store.fs, f"{store.root}/{ORDER}", data)
            return rows
    raise StoreError(f"{store.path} has lost its {ORDER}, the order of its rows: tokenize anew")


def _rows(table: pa.Table) -> list[Row]:
    pairs = zip(table["key"].to_pylist(), table["label"].to_pylist(), strict=True)
    return [Row(key, label) for key, label in pairs]


def recipe_crops(recipe: Recipe) -> Crops:
    """The views that a recipe stores."""
    tokenize = recipe.tokenize
    return Crops(recipe.autoencoder.model.image_size, tokenize.views, tokenize.resize)


def make_manifest(
    recipe: Recipe,
    source: Source,
    model: Autoencoder,
    plan: Plan,
    features: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """What identifies a store and explains it; the same inputs give the same manifest.

    `features` says which ones are kept beside the tokens, see `pipeline.features`.
    """
    config = model.config
    order = hashlib.sha256(order_bytes(plan.rows)).hexdigest() if plan.is_extended else ""
    return {
        "grid": config.geometry.grid,
        "K": config.geometry.K,
        "codebook_size": config.codebook_size,
        "latent_dim": config.latent_dim,
        "builder": config.builder,
        "rows": len(plan.rows),
        "chunk_rows": recipe.tokenize.chunk_rows,
        "views": recipe_crops(recipe).names(),
        "image_size": config.image_size,
        "preprocessing": recipe_crops(recipe).describe(),
        "classes": plan.classes,
        **({"order": order} if order else {}),
        "source": source_fingerprint(recipe, source),
        "tokenizer": fingerprint(model),
        **({FEATURES: features} if features else {}),
        "recipe": {"data": as_table(recipe.data), "tokenize": _tokenize_table(recipe)},
        "versions": {
            "nvg": __version__,
            "python": platform.python_version(),
            **{package: version(package) for package in PACKAGES},
        },
    }


def _tokenize_table(recipe: Recipe) -> dict[str, Any]:
    """The section as a table; where features' weights lie does not matter, what they are does."""
    table = as_table(recipe.tokenize)
    table.get(FEATURES, {}).pop("weights", None)
    return table


def source_fingerprint(recipe: Recipe, source: Source) -> str:
    """What tells that the images, or the label maps that structure is made from, have changed."""
    maps = open_segments(recipe)
    if maps is None:
        return source.fingerprint()
    return digest([source.fingerprint(), maps.fingerprint([row.key for row in source.rows])])


def prepare_store(
    out: str,
    manifest: dict[str, Any],
    model: Autoencoder,
    resume: bool,
    files: Mapping[str, bytes] | None = None,
) -> Store:
    """A store ready for the missing chunks: a new one, or with `resume` the one that is there.

    It carries the tokenizer's weights, and `files`. What is there is read again first, and chunks
    that are damaged count as missing.

    StoreError when one is there and `resume` is not given, or it has another recipe, source or
    tokenizer.
    """
    files = {**_weights(model, manifest["tokenizer"]), **(files or {})}
    if not (resume and store_exists(out)):
        return create_store(out, manifest, files)
    store = open_store(out, writable=True)
    store.require_tokenizer(manifest["tokenizer"])
    if store.manifest["recipe"] == manifest["recipe"] and (
        store.manifest["source"] != manifest["source"]
    ):
        raise StoreError(
            f"{out} cannot be resumed: the images of its source have changed; restore them, add "
            "new ones by --extend, or choose another --out"
        )
    for key in manifest:
        if key not in ("versions", "weights") and store.manifest.get(key) != manifest[key]:
            raise StoreError(
                f"{out} cannot be resumed: it was begun with another recipe ({key} differs); use "
                "that recipe, or choose another --out"
            )
    sweep(store)
    complete_layout(store, files)
    damaged = withdraw_damaged(store, lambda n: progress(n, desc="check", unit="chunk"))
    if damaged:
        note(f"{out}: made anew, because damaged: chunks {', '.join(map(str, damaged))}")
    return store


def _weights(model: Autoencoder, identity: str) -> dict[str, bytes]:
    """The weights a store carries: what training needs, and what turns tokens into pixels."""
    decoding = {k: v for k, v in model.state_dict().items() if not k.startswith("encoder.")}
    parts = {"tokenizer.safetensors": model.quantizer.state_dict(), WEIGHTS: decoding}
    return {
        name: weights_bytes(state, model.config, tokenizer=identity)
        for name, state in parts.items()
    }
