"""Features of images for alignment (REPA): patches of a vision transformer, a few bytes each.

Legend: B image of a batch, N position, P component of a stored feature, M vector of a flat list,
F feature channel.
"""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from nvg.distributed import default_device
from nvg.format.base import CODEC, StoreError
from nvg.format.manifest import FeatureInfo
from nvg.pretrained.vit import VisionTransformer
from nvg.progress import progress
from nvg.store import Split, open_store, store_exists
from nvg.store.feature_codec import FeatureCodec, fit_codec
from nvg.tokenizer.autoencoder import from_pixels
from pipeline.images.blocks import RowImages
from pipeline.images.decode import ImageError
from pipeline.images.recipe_images import RecipeImages
from pipeline.recipe import Recipe
from pipeline.sources import Rows

SAMPLED_IMAGES = 1024  # that the codec is fitted to, evenly over the rows
PATCHES_AN_IMAGE = 64
BATCH = 32


@dataclass(frozen=True)
class FeatureJob:
    """All that is needed to make a store's features; travels to workers."""

    model: str
    weights: Path
    grid: int
    codec: bytes
    info: FeatureInfo
    """What the manifest says of them."""

    def files(self) -> dict[str, bytes]:
        """What a store carries, to turn bytes into features again."""
        return {CODEC: self.codec}


class FeatureEncoder:
    """The transformer and the codec on one device."""

    def __init__(self, job: FeatureJob, device: torch.device) -> None:
        self.transformer = VisionTransformer(job.model, job.weights, job.grid).to(device)
        self.codec = FeatureCodec.from_bytes(job.codec).to(device)
        self.dims = self.codec.shape.dims

    @torch.no_grad()
    def __call__(self, pixels: Tensor) -> Tensor:
        """uint8 pixels [B, 3, D, D] -> codes [B, N, P], uint8."""
        return self.codec.encode(self.transformer(from_pixels(pixels)))


def prepare_features(
    recipe: Recipe, images: RecipeImages, rows: Rows, out: str
) -> FeatureJob | None:
    """The job of a recipe that keeps features, with the codec of the store at `out`.

    For a new store the codec is fitted to images of its rows for training. StoreError when the
    store at `out` has other features; InputError when the weights cannot be used.
    """
    config = recipe.tokenize.features
    if config is None:
        return None
    weights, grid = Path(config.weights).absolute(), recipe.autoencoder.model.geometry.grid
    transformer = VisionTransformer(config.model, weights, grid).to(default_device())
    identity = hashlib.sha256(weights.read_bytes()).hexdigest()
    wanted: dict[str, Any] = {"model": config.model, "sha256": identity, "dims": config.dims}
    if stored := _stored_codec(out, wanted):
        return FeatureJob(config.model, weights, grid, *stored)
    samples = _sample(transformer, images, rows.of_split(Split.TRAIN))
    codec = fit_codec(samples, config.dims)
    kept = round(codec.kept(samples), 6)
    info = FeatureInfo(**wanted, width=transformer.width, kept=kept)
    return FeatureJob(config.model, weights, grid, codec.to_bytes(), info)


def _stored_codec(out: str, wanted: dict[str, Any]) -> tuple[bytes, FeatureInfo] | None:
    """The codec of the store at `out`; None where there is no store, or its codec is damaged."""
    if not store_exists(out):
        return None
    store = open_store(out)
    info = store.manifest.features
    for key, value in wanted.items():
        if getattr(info, key, None) != value:
            raise StoreError(
                f"{out} was begun with other features ({key} differs): use its own "
                "[tokenize.features], or choose another --out"
            )
    return (store.read(CODEC), info) if info and store.is_intact(CODEC) else None


@torch.no_grad()
def _sample(transformer: VisionTransformer, images: RecipeImages, rows: Rows) -> Tensor:
    """Patches [M, F] of images spread evenly over the rows; unreadable ones are left out."""
    every = max(1, len(rows) // SAMPLED_IMAGES)
    crops = RowImages(
        images.source,
        rows[::every][:SAMPLED_IMAGES],
        images.crops.size,
        reading=images.reading,
    )
    generator = torch.Generator().manual_seed(0)
    found = []
    starts = range(0, len(crops), BATCH)
    for start in progress(starts, desc="fit features", unit="batch", leave=False):
        picked = torch.arange(start, min(start + BATCH, len(crops))).numpy()
        try:
            pixels = crops.batch(picked).tensors(default_device())[0]
        except ImageError:
            continue
        patches_BNF = transformer(from_pixels(pixels))
        count = min(PATCHES_AN_IMAGE, patches_BNF.shape[1])
        chosen = torch.randperm(patches_BNF.shape[1], generator=generator)[:count]
        found.append(patches_BNF[:, chosen].flatten(0, 1).cpu())
    return torch.cat(found) if found else torch.empty(0, transformer.width)
