"""What each process of an evaluation of a tokenizer does: it rebuilds images and compares them.

Batches are the same whoever does them, and their results are added up in order.

Legend: B image of a batch, D row or column of pixels or of the grid, F feature channel.
"""

import warnings
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from nvg.distributed import default_device
from nvg.errors import InputError
from nvg.metrics.reconstruction import Rebuilt, Sums, rebuild
from nvg.precision import Part, numbers
from nvg.pretrained.efficientnet import FeatureDistance
from nvg.pretrained.inception import Extractor, NamedExtractor, load_extractor
from nvg.pretrained.lpips import Perceptual
from nvg.pretrained.names import EFFICIENTNET, brings_weights
from nvg.tokenizer.autoencoder import Autoencoder, load_autoencoder, require_trusted
from nvg.view.figures import png_bytes, stage_figure
from nvg.weights import fingerprint
from pipeline.images.blocks import RowImages
from pipeline.images.recipe_images import open_images
from pipeline.recipe import AutoencoderSection, Recipe
from pipeline.sources import split_rows

SHOWN = 8  # images in the picture


@dataclass(frozen=True, kw_only=True)
class ReconstructionOptions:
    """The options of the verb: how many images, and what measures them."""

    out: Path | None = None
    """Folder of the report, by default the run."""
    extractor: str
    weights: Path | None = None
    """Of the extractor; no Frechet distance where it needs them and they are not given."""
    vgg: str | None = None
    """Weights of LPIPS; without them no LPIPS."""
    most: int | None = None
    """Upper limit of images."""
    workers: int | None = None
    """Actors of a Ray cluster, which share the images out."""
    address: str | None = None
    """Of that cluster."""
    trust: bool = False
    """Import a structure builder that the run's file alone names."""


@dataclass(frozen=True)
class RebuildJob:
    """An evaluation as every process gets it."""

    run: Path
    recipe: Recipe
    options: ReconstructionOptions


@dataclass(frozen=True)
class Facts:
    """What the main process has to know of the networks and the images."""

    images: int
    tokenizer: str
    pyramid: str
    tokens: int
    extractor: NamedExtractor | None
    perceptual: dict[str, str]
    """Names of the networks of perceptual distances, by their keys in the report."""


@dataclass(frozen=True)
class Compared:
    """Results of a batch."""

    sums: Sums
    skipped: int
    ssim: float
    """Sum over the images."""
    perceptual: dict[str, float]
    """The same of each perceptual distance."""
    real: Tensor | None
    """Features [B, F] of the images and of their reconstructions."""
    rebuilt: Tensor | None


@dataclass(frozen=True)
class Rebuilder:
    """The state of a process."""

    model: Autoencoder
    images: RowImages
    extractor: Extractor | None
    perceptual: dict[str, Perceptual | FeatureDistance]

    @cached_property
    def similarity(self) -> Any:
        """torchmetrics' SSIM."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of its own imports
            from torchmetrics.functional.image import structural_similarity_index_measure

        return structural_similarity_index_measure

    def facts(self, _task: int) -> Facts:
        """Of this evaluation."""
        return Facts(
            len(self.images),
            fingerprint(self.model),
            self.model.config.pyramid.value,
            self.model.quantizer.layout.tokens,
            self.extractor.named if self.extractor else None,
            {key: network.name for key, network in self.perceptual.items()},
        )

    @torch.no_grad()
    def compare(self, images: range) -> Compared:
        """Rebuild some images."""
        made = rebuild(self.model, self.images, np.array(images))
        ssim, perceptual = self.distances(made)
        network = self.extractor
        return Compared(
            made.sums,
            len(images) - len(made.pixels),
            ssim,
            perceptual,
            network(made.pixels).cpu() if network else None,
            network(made.rebuilt).cpu() if network else None,
        )

    def distances(self, made: Rebuilt) -> tuple[float, dict[str, float]]:
        """Sums of SSIM and of the perceptual distances over a batch, in exact float32."""
        with numbers(Part.FEATURES, made.pixels.device):
            one, other = (each.float() / 255 for each in (made.pixels, made.rebuilt))
            each_B = self.similarity(other, one, data_range=1.0, reduction="none")
            return float(each_B.sum()), {
                key: float(network(2 * other - 1, 2 * one - 1).sum())
                for key, network in self.perceptual.items()
            }

    @torch.no_grad()
    def picture(self, _task: int) -> bytes:
        """Originals, then what is decoded from the canvas after each stage."""
        rows = np.arange(min(SHOWN, len(self.images)))
        pixels, segments = self.images.batch(rows).tensors(default_device())
        leaves, content, _ = self.model.tokenize(pixels, segments)
        canvases = self.model.quantizer.canvases(content, leaves)
        return png_bytes(stage_figure(pixels, [self.model.render(each) for each in canvases]))


def open_rebuilder(job: RebuildJob) -> Rebuilder:
    """Load what a process needs; InputError when anything is missing."""
    options, device, extractor = job.options, default_device(), None
    perceptual: dict[str, Perceptual | FeatureDistance] = {}
    model = load_autoencoder(job.run, trust=True).to(device)
    if not options.trust:
        given = job.recipe.autoencoder
        own = given.model.builder if given and given.model else None
        require_trusted(model.config, job.run, own)
    images = _images(job.recipe, model, options.most)
    if options.weights or brings_weights(options.extractor):
        extractor = load_extractor(options.extractor, options.weights, device)
    if options.vgg:
        perceptual["lpips"] = Perceptual(options.vgg, model.config.image_size).to(device)
    if options.extractor == EFFICIENTNET:
        perceptual["feature_distance"] = FeatureDistance(options.weights).to(device)
    return Rebuilder(model, images, extractor, perceptual)


def _images(recipe: Recipe, model: Autoencoder, most: int | None) -> RowImages:
    given = recipe.autoencoder or AutoencoderSection()
    section = replace(given, model=model.config)  # the run's, not the recipe's
    images = open_images(replace(recipe, autoencoder=section))
    rows, kept = split_rows(images.source.rows, recipe.data.heldout)
    rows = (kept or rows)[:most]
    if not rows:
        raise InputError(f"{recipe.data.path} has no images to rebuild")
    return images.center_crops(rows)
