"""Measures of a tokenizer on held-out images.

Legend: B image of a batch, S stage, V code, T token.
"""

import itertools
import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from nvg.distributed import World
from nvg.precision import Part, numbers
from nvg.quantizer.usage import stage_entropy, stage_hits, stage_usage
from nvg.tokenizer.autoencoder import Autoencoder, from_pixels, to_pixels
from nvg.tokenizer.image_batch import Images

BATCH = 64

Counts = np.ndarray[Any, Any]


@dataclass(frozen=True, kw_only=True)
class Reconstruction:
    """How well a tokenizer rebuilds images. Errors are on the scale [-1, 1]; PSNR on 8 bits."""

    images: int
    mse: float
    psnr: float
    stage_error: list[float]
    """Mean squared latent residual after each stage."""
    usage: float
    """Fraction of the codebook used at all."""
    stage_usage: list[float]
    """Codes used by each stage, as a fraction of the attainable maximum."""
    stage_share: list[float]
    """Fraction of the codebook used by each stage; that of the first is what the paper reports."""
    stage_perplexity: list[float]
    """Perplexity of each stage: 2 to the entropy of its tokens in bits."""
    stage_psnr: list[float]
    """PSNR of what is decoded from the canvas after each stage."""


@dataclass(frozen=True)
class Rebuilt:
    """A batch of images and what a tokenizer made of it."""

    pixels: Tensor
    """uint8 [B, 3, D, D], as its reconstruction."""
    rebuilt: Tensor
    sums: "Sums"


@dataclass(frozen=True)
class Sums:
    """Over the images of a batch, from which the measures are made."""

    images: int
    squared_S: Tensor
    """Mean squared error of what is decoded after each stage, float64."""
    error_S: Tensor
    """Mean squared latent residual, float64."""
    hits_SV: Counts
    """How often each stage used each code."""


def reconstruction_metrics(model: Autoencoder, images: Images) -> Reconstruction:
    """Measure `model` on all of `images`."""
    return measures_of(_sums(model, images, 0, 1))


def shared_metrics(model: Autoencoder, images: Images, world: World) -> Reconstruction | None:
    """The same by all processes of a world, which hold the same model; None in all but the main.

    They take batches in turn, and sums are added in the order of the batches: the measures do not
    depend on the number of processes. Collective.
    """
    found = world.collect(list(_sums(model, images, world.rank, world.size)))
    rounds = itertools.zip_longest(*found)
    ordered = [sums for each in rounds for sums in each if sums is not None]
    return measures_of(ordered) if world.is_main else None


def _sums(model: Autoencoder, images: Images, first: int, every: int) -> "Iterator[Sums]":
    """Of one batch in `every`, from batch `first` on."""
    for start in range(first * BATCH, len(images), every * BATCH):
        yield rebuild(model, images, np.arange(start, min(start + BATCH, len(images)))).sums


@torch.no_grad()
def rebuild(model: Autoencoder, images: Images, rows: Counts) -> Rebuilt:
    """Some images [B] through the tokenizer and back, in exact float32 whatever is set around."""
    layout, device = model.quantizer.layout, next(model.parameters()).device
    pixels, segments = images.batch(rows).tensors(device)
    squared_S = torch.zeros(layout.stages, dtype=torch.float64)
    with numbers(Part.FEATURES, device):
        leaves, content, error_BS = model.tokenize(pixels, segments)
        for stage, canvas in enumerate(model.quantizer.canvases(content, leaves)):
            rebuilt = model.decoder(canvas).clamp(-1, 1)
            error_B = (rebuilt - from_pixels(pixels)).square().mean((1, 2, 3))
            squared_S[stage] = error_B.sum().cpu()
    hits_SV = stage_hits(content.cpu().numpy(), layout, model.config.codebook_size)
    sums = Sums(len(pixels), squared_S, error_BS.double().sum(0).cpu(), hits_SV)
    return Rebuilt(pixels, to_pixels(rebuilt), sums)


def measures_of(batches: Iterable[Sums]) -> Reconstruction:
    """The measures over all batches."""
    first, *rest = batches
    seen, squared_S, error_S, hits_SV = (
        first.images,
        first.squared_S,
        first.error_S,
        first.hits_SV,
    )
    for batch in rest:
        seen += batch.images
        squared_S, error_S = squared_S + batch.squared_S, error_S + batch.error_S
        hits_SV = hits_SV + batch.hits_SV
    mse_S = (squared_S / seen).tolist()
    return Reconstruction(
        images=seen,
        mse=mse_S[-1],
        psnr=psnr(mse_S[-1]),
        stage_error=(error_S / seen).tolist(),
        usage=float((hits_SV.sum(0) > 0).mean()),
        stage_usage=stage_usage(hits_SV).tolist(),
        stage_share=(hits_SV > 0).mean(1).tolist(),
        stage_perplexity=np.exp2(stage_entropy(hits_SV)).tolist(),
        stage_psnr=[psnr(mse) for mse in mse_S],
    )


def psnr(mse: float) -> float:
    """Peak signal-to-noise ratio in dB of a mean squared error on the scale [-1, 1]."""
    return 10 * math.log10(4 / max(mse, 1e-12))
