"""Evaluation of a tokenizer: images -> tokens -> images, measured and shown.

Legend: B image of a batch, D row or column of pixels or of the grid.
"""

import json
import warnings
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from nvg.distributed import default_device
from nvg.errors import InputError
from nvg.files import write_atomic
from nvg.metrics.frechet import Moments, frechet_distance
from nvg.metrics.reconstruction import Reconstruction, reconstruction_metrics
from nvg.metrics.small_samples import distance_warnings, rounded
from nvg.pretrained.inception import Extractor, brings_weights, load_extractor
from nvg.pretrained.lpips import Perceptual
from nvg.progress import progress
from nvg.tokenizer.autoencoder import Autoencoder, load_autoencoder
from nvg.view.figures import png_bytes, stage_figure
from nvg.weights import fingerprint
from pipeline.images.blocks import RowImages
from pipeline.images.recipe_images import open_images
from pipeline.recipe import Recipe
from pipeline.sources import split_rows

SHOWN = 8  # images in the picture
REPORT, PICTURE = "reconstruction.json", "reconstruction.png"


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


def evaluate_reconstruction(run: Path, recipe: Recipe, options: ReconstructionOptions) -> list[str]:
    """Measure an autoencoder on a recipe's held-out images, or on all where none are held out.

    Writes REPORT and PICTURE; returns the lines to print.
    """
    model = load_autoencoder(run).to(default_device())
    images = _images(recipe, model, options.most)
    comparison = _comparison(options, model.config.image_size)
    with progress(total=len(images), desc="rebuild", unit="image") as bar:

        def watch(pixels: Tensor, rebuilt: Tensor) -> None:
            comparison.update(pixels, rebuilt)
            bar.update(len(pixels))

        measures = reconstruction_metrics(model, images, watch)
    report = {
        "autoencoder": str(run),
        "tokenizer": fingerprint(model),
        "pyramid": model.config.pyramid.value,
        "tokens": model.quantizer.layout.tokens,
        "data": {"source": recipe.data.source.value, "heldout": recipe.data.heldout},
        "skipped": len(images.skipped),
        **asdict(measures),
        **comparison.compute(),
    }
    folder = options.out or (run if run.is_dir() else run.parent)
    write_atomic(folder / REPORT, json.dumps(report, indent=1).encode())
    write_atomic(folder / PICTURE, _picture(model, images))
    return [*_lines(measures, comparison), f"wrote {folder / REPORT} and {folder / PICTURE}"]


def _images(recipe: Recipe, model: Autoencoder, most: int | None) -> RowImages:
    section = replace(recipe.autoencoder, model=model.config)  # the run's, not the recipe's
    images = open_images(replace(recipe, autoencoder=section))
    rows, kept = split_rows(images.source.rows, recipe.data.heldout)
    rows = (kept or rows)[:most]
    if not rows:
        raise InputError(f"{recipe.data.path} has no images to rebuild")
    return images.center_crops(rows)


def _comparison(options: ReconstructionOptions, image_size: int) -> "Comparison":
    device, network, perceptual = default_device(), None, None
    if options.weights or brings_weights(options.extractor):
        network = load_extractor(options.extractor, options.weights, device)
    if options.vgg:
        perceptual = Perceptual(options.vgg, image_size).to(device)
    return Comparison(network, perceptual)


class Comparison:
    """SSIM, LPIPS and Frechet distance between images and their reconstructions."""

    def __init__(self, extractor: Extractor | None, perceptual: Perceptual | None) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of its own imports
            from torchmetrics.functional.image import structural_similarity_index_measure

        self.extractor, self.perceptual = extractor, perceptual
        self.similarity: Any = structural_similarity_index_measure
        self.real, self.rebuilt = Moments(), Moments()
        self.sums = {"ssim": 0.0, "lpips": 0.0}
        self.count = 0

    @torch.no_grad()
    def update(self, pixels: Tensor, rebuilt: Tensor) -> None:
        """Count uint8 images and their reconstructions, both [B, 3, D, D]."""
        one, other = (each.float() / 255 for each in (pixels, rebuilt))
        each_B = self.similarity(other, one, data_range=1.0, reduction="none")
        self.sums["ssim"] += float(each_B.sum())
        self.count += len(pixels)
        if self.perceptual:
            self.sums["lpips"] += float(self.perceptual(2 * other - 1, 2 * one - 1).sum())
        if self.extractor:
            self.real.add(self.extractor(pixels))
            self.rebuilt.add(self.extractor(rebuilt))

    def compute(self) -> dict[str, Any]:
        """The measures over all batches, with the names of their networks."""
        found: dict[str, Any] = {"ssim": self.sums["ssim"] / self.count}
        if self.perceptual:
            found["lpips"] = {
                "value": self.sums["lpips"] / self.count,
                "network": self.perceptual.name,
            }
        if self.extractor:
            found["frechet"] = {
                "value": frechet_distance(self.rebuilt, self.real),
                "name": self.extractor.distance_name,
                "extractor": self.extractor.name,
                "weights_sha256": self.extractor.weights,
                "warnings": distance_warnings(self.count, f"r{self.extractor.distance_name}"),
            }
        return found


@torch.no_grad()
def _picture(model: Autoencoder, images: RowImages) -> bytes:
    """Originals, then what is decoded from the canvas after each stage."""
    pixels, segments = images.batch(np.arange(min(SHOWN, len(images)))).tensors(default_device())
    leaves, content, _ = model.tokenize(pixels, segments)
    stages = [model.render(canvas) for canvas in model.quantizer.canvases(content, leaves)]
    return png_bytes(stage_figure(pixels, stages))


def _lines(measures: Reconstruction, comparison: Comparison) -> list[str]:
    found = comparison.compute()
    lines = [
        f"{measures.images} images: PSNR {measures.psnr:.2f} dB, MSE {measures.mse:.5f}, "
        f"SSIM {found['ssim']:.4f}",
    ]
    if "lpips" in found:
        lines.append(f"{found['lpips']['network']}: {found['lpips']['value']:.4f}")
    if "frechet" in found:
        distance = found["frechet"]
        lines.append(f"r{distance['name']}: {rounded(distance['value'], measures.images)}")
        lines += [f"warning: {line}" for line in distance["warnings"]]
    lines += [
        f"codebook use {measures.usage:.1%}, of the first stage {measures.stage_share[0]:.2%}",
        "stage  PSNR (dB)  residual  codes used  of maximum  perplexity",
    ]
    for stage, psnr in enumerate(measures.stage_psnr):
        lines.append(
            f"{stage:5d}  {psnr:9.2f}  {measures.stage_error[stage]:8.4f}"
            f"  {measures.stage_share[stage]:10.1%}  {measures.stage_usage[stage]:10.1%}"
            f"  {measures.stage_perplexity[stage]:10.1f}"
        )
    return lines
