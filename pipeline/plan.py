"""Recipe -> deterministic list of chunk tasks, and the manifest they fill. Pure but for listing."""

import platform
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

from nvg import __version__
from nvg.autoencoder import Autoencoder
from nvg.checkpoint import fingerprint, weights_bytes
from nvg.config import as_table
from nvg.detokenize import WEIGHTS
from nvg.progress import note, progress
from nvg.repair import withdraw_damaged
from nvg.store import Store, StoreError, open_store, store_exists
from nvg.store_layout import complete_layout, create_store
from pipeline.recipe import Recipe
from pipeline.segments import open_segments
from pipeline.sources import Row, Source, digest, open_source, split_rows
from pipeline.views import Crops

PACKAGES = ("torch", "numpy", "numba", "pillow", "zarr", "pyarrow")


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


def plan_store(recipe: Recipe, source: Source) -> list[ChunkTask]:
    """Every chunk task of a recipe."""
    rows, _ = split_rows(source.rows, recipe.data.heldout)
    return plan_chunks(rows, recipe.tokenize.chunk_rows)


def recipe_crops(recipe: Recipe) -> Crops:
    """The views that a recipe stores."""
    tokenize = recipe.tokenize
    return Crops(recipe.autoencoder.model.image_size, tokenize.views, tokenize.resize)


def make_manifest(recipe: Recipe, source: Source, model: Autoencoder, rows: int) -> dict[str, Any]:
    """What identifies a store and explains it; the same inputs give the same manifest."""
    config = model.config
    return {
        "grid": config.geometry.grid,
        "K": config.geometry.K,
        "codebook_size": config.codebook_size,
        "latent_dim": config.latent_dim,
        "builder": config.builder,
        "rows": rows,
        "chunk_rows": recipe.tokenize.chunk_rows,
        "views": recipe_crops(recipe).names(),
        "image_size": config.image_size,
        "preprocessing": recipe_crops(recipe).describe(),
        "classes": source.classes,
        "source": source_fingerprint(recipe, source),
        "tokenizer": fingerprint(model),
        "recipe": {"data": as_table(recipe.data), "tokenize": as_table(recipe.tokenize)},
        "versions": {
            "nvg": __version__,
            "python": platform.python_version(),
            **{package: version(package) for package in PACKAGES},
        },
    }


def source_fingerprint(recipe: Recipe, source: Source) -> str:
    """What tells that the images, or the label maps that structure is made from, have changed."""
    maps = open_segments(recipe)
    if maps is None:
        return source.fingerprint()
    return digest([source.fingerprint(), maps.fingerprint([row.key for row in source.rows])])


def prepare_store(out: str, manifest: dict[str, Any], model: Autoencoder, resume: bool) -> Store:
    """A store ready for the missing chunks: a new one, or with `resume` the one that is there.

    What is there is read again first, and chunks that are damaged count as missing.

    StoreError when one is there and `resume` is not given, or it has another recipe, source or
    tokenizer.
    """
    files = _weights(model, manifest["tokenizer"])
    if not (resume and store_exists(out)):
        return create_store(out, manifest, files)
    store = open_store(out, writable=True)
    store.require_tokenizer(manifest["tokenizer"])
    if store.manifest["recipe"] == manifest["recipe"] and (
        store.manifest["source"] != manifest["source"]
    ):
        raise StoreError(
            f"{out} cannot be resumed: the images of its source have changed; restore them, or "
            "choose another --out"
        )
    for key in manifest:
        if key not in ("versions", "weights") and store.manifest.get(key) != manifest[key]:
            raise StoreError(
                f"{out} cannot be resumed: it was begun with another recipe ({key} differs); use "
                "that recipe, or choose another --out"
            )
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


def plan_lines(recipe: Recipe) -> list[str]:
    """What tokenizing would do: chunks, rows, and the size of the store before compression."""
    tasks = plan_store(recipe, open_source(recipe.data))
    rows = sum(len(task.rows) for task in tasks)
    geometry, views = recipe.autoencoder.model.geometry, len(recipe_crops(recipe).names())
    bytes_each = (
        views * (geometry.leaf_dtype.itemsize * geometry.positions + 2 * geometry.tokens) + 4
    )
    return [
        f"{rows} images x {views} views in {len(tasks)} chunks of {recipe.tokenize.chunk_rows}",
        f"at most {bytes_each} bytes an image, {rows * bytes_each / 1e6:.1f} MB in all",
    ]
