"""Measures of a tokenizer on held-out images.

Legend: B image, S stage, V codeword.
"""

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from nvg.autoencoder import Autoencoder, from_pixels
from nvg.geometry import Geometry
from nvg.image_batch import Images

BATCH = 64


@dataclass(frozen=True, kw_only=True)
class Reconstruction:
    """How well a tokenizer rebuilds images. Errors are on the scale [-1, 1]; PSNR on 8 bits."""

    images: int
    mse: float
    psnr: float
    stage_error: list[float]
    """Mean squared latent residual after each stage."""
    usage: float
    """Share of the codebook used at all."""
    stage_usage: list[float]
    """Share of the codebook used by each stage, against the most its draws allow."""


@torch.no_grad()
def reconstruction_metrics(model: Autoencoder, images: Images) -> Reconstruction:
    """Measure `model` on all of `images`."""
    geometry, codes = model.config.geometry, model.config.codebook_size
    where = next(model.parameters()).device
    squared = seen = 0.0
    error_S = torch.zeros(geometry.stages, dtype=torch.float64)
    hits_SV = torch.zeros(geometry.stages, codes, dtype=torch.int64)
    for start in range(0, len(images), BATCH):
        batch = images.batch(np.arange(start, min(start + BATCH, len(images))))
        pixels, segments = batch.tensors(where)
        leaves, content, error_BS = model.tokenize(pixels, segments)
        rebuilt = model.decoder(model.quantizer.canvas(content, leaves)).clamp(-1, 1)
        squared += float((rebuilt - from_pixels(pixels)).square().mean((1, 2, 3)).sum())
        error_S += error_BS.double().sum(0).cpu()
        hits_SV += stage_hits(content, geometry, codes)
        seen += len(pixels)
    mse = squared / seen
    return Reconstruction(
        images=int(seen),
        mse=mse,
        psnr=10 * math.log10(4 / max(mse, 1e-12)),
        stage_error=(error_S / seen).tolist(),
        usage=float((hits_SV.sum(0) > 0).double().mean()),
        stage_usage=stage_usage(hits_SV).tolist(),
    )


def stage_hits(content: Tensor, geometry: Geometry, codes: int) -> Tensor:
    """How often each stage of content [B, 2N-1] draws each codeword, int64 [S, V]."""
    return torch.stack(
        [
            torch.bincount(content[:, geometry.stage_slice(stage)].flatten().cpu(), minlength=codes)
            for stage in range(geometry.stages)
        ]
    )


def stage_usage(hits_SV: Tensor) -> Tensor:
    """Share of the codebook that each stage uses, against the most its draws allow, [S]."""
    reach_S = hits_SV.sum(1).clamp(max=hits_SV.shape[1])
    return (hits_SV > 0).sum(1).double() / reach_S
