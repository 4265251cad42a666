"""The manifest of a store, and a store made ready for its missing chunks."""

import hashlib
import logging
import platform
from collections.abc import Mapping
from dataclasses import replace
from importlib.metadata import version
from typing import Any

from nvg import __version__
from nvg.choices import ChildOrder, EncoderPrecision
from nvg.config import as_table
from nvg.format.base import FEATURES, StoreError
from nvg.format.manifest import FeatureInfo, Manifest
from nvg.progress import progress
from nvg.store.layout import complete_layout, create_store
from nvg.store.linked import open_store
from nvg.store.repair import withdraw_damaged
from nvg.store.shard_writer import open_writer
from nvg.store.store import store_exists
from nvg.store.writer import StoreWriter
from nvg.tokenizer.autoencoder import Autoencoder
from nvg.tokenizer.detokenizer import DETOKENIZER_FILE
from nvg.weights import fingerprint, weights_bytes
from pipeline.images.recipe_images import RecipeImages
from pipeline.recipe import Recipe
from pipeline.tokenize.plan import Plan, order_bytes
from pipeline.tokenize.share import Share

log = logging.getLogger("nvg")

PACKAGES = ("torch", "numpy", "numba", "pillow", "zarr", "pyarrow")


def make_manifest(
    recipe: Recipe,
    images: RecipeImages,
    model: Autoencoder,
    plan: Plan,
    features: FeatureInfo | None = None,
) -> Manifest:
    """What identifies a store and explains it; the same inputs give the same manifest."""
    config = model.config
    is_by_position = config.child_order is ChildOrder.POSITION
    order = hashlib.sha256(order_bytes(plan.rows)).hexdigest() if plan.is_extended else None
    return Manifest(
        grid=config.geometry.grid,
        K=config.geometry.K,
        codebook_size=config.codebook_size,
        latent_dim=config.latent_dim,
        builder=config.builder,
        space_weight=config.space_weight,
        child_order=None if is_by_position else config.child_order,
        rows=len(plan.rows),
        val_rows=plan.val_rows,
        chunk_rows=recipe.tokenize.chunk_rows,
        views=tuple(images.crops.names()),
        image_size=config.image_size,
        preprocessing=images.crops.describe(),
        classes=tuple(plan.classes),
        order=order,
        source=images.fingerprint(),
        tokenizer=fingerprint(model),
        features=features,
        recipe={"data": as_table(recipe.data), "tokenize": _tokenize_table(recipe)},
        versions={
            "nvg": __version__,
            "python": platform.python_version(),
            **{package: version(package) for package in PACKAGES},
        },
    )


def as_begun(recipe: Recipe, out: str) -> Recipe:
    """The recipe, reading pictures as the store at `out` did if it was begun before a choice.

    A manifest without `data.exif` is of that time: pictures as they are stored, alpha dropped.
    """
    if not store_exists(out):
        return recipe
    if "exif" in open_store(out).manifest.recipe.get("data", {}):
        return recipe
    data = replace(recipe.data, exif=None, icc=None, background=None)
    return replace(recipe, data=data)


def _tokenize_table(recipe: Recipe) -> dict[str, Any]:
    """The section as a table; where features' weights lie does not matter, what they are does.

    Neither does how many encoders there are. Without the encoder's precision where it is fp32, and
    without the shuffle where there is none, as before there was a choice.
    """
    table = as_table(recipe.tokenize)
    for name in ("encoders", "encoders_per_gpu"):
        del table[name]
    if recipe.tokenize.precision is EncoderPrecision.FP32:
        del table["precision"]
    if not recipe.tokenize.shuffle:
        del table["shuffle"]
    table.get(FEATURES, {}).pop("weights", None)
    return table


def prepare_store(
    out: str,
    manifest: Manifest,
    model: Autoencoder,
    resume: bool,
    files: Mapping[str, bytes] | None = None,
    own: Share | None = None,
) -> StoreWriter:
    """A store ready for the missing chunks: a new one, or with `resume` the one that is there.

    It carries the tokenizer's weights, and `files`. What is there is read again first, and chunks
    that are damaged count as missing. Where other jobs write the rest, only chunks of its `own`
    share are read and changed.

    StoreError when one is there and `resume` is not given, or it has another recipe, source or
    tokenizer.
    """
    files = {**_weights(model, manifest.tokenizer), **(files or {})}
    if not (resume and store_exists(out)):
        return create_store(out, manifest.sharded(), files)
    store = open_writer(out)
    _require_same(store, manifest)
    if own is None:
        store.sweep()
    elif store.finished:
        return store
    complete_layout(store, files)
    chunks = own.chunks(store.chunks, store.per_shard) if own else None
    damaged = withdraw_damaged(store, lambda n: progress(n, desc="check", unit="chunk"), chunks)
    if damaged:
        log.warning(
            "%s: writing damaged chunks again: %s", out, ", ".join(str(chunk) for chunk in damaged)
        )
    return store


def _require_same(store: StoreWriter, manifest: Manifest) -> None:
    """StoreError where a store that is to be resumed is of another pass."""
    out = store.path
    store.require_tokenizer(manifest.tokenizer)
    differences = manifest.differences(store.manifest)
    if "source" in differences and "recipe" not in differences:
        raise StoreError(
            f"{out} cannot be resumed: the images of its source have changed; restore them, add "
            "new ones by --extend, or choose another --out"
        )
    if manifest.val_rows and not store.manifest.val_rows and "recipe" not in differences:
        raise StoreError(
            f"{out} cannot be resumed: it was begun by a version that did not tell the splits of "
            "its source apart; choose another --out"
        )
    for name in differences:
        raise StoreError(
            f"{out} cannot be resumed: it was begun with another recipe ({name} differs); use "
            "that recipe, or choose another --out"
        )


def _weights(model: Autoencoder, identity: str) -> dict[str, bytes]:
    """The weights a store carries: what training needs, and what turns tokens into pixels."""
    decoding = {k: v for k, v in model.state_dict().items() if not k.startswith("encoder.")}
    parts = {"tokenizer.safetensors": model.quantizer.state_dict(), DETOKENIZER_FILE: decoding}
    return {
        name: weights_bytes(state, model.config, tokenizer=identity)
        for name, state in parts.items()
    }
