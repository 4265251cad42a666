"""Measures of a tokenizer on held-out images.

Legend: B image, S stage, V codeword.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from nvg.autoencoder import Autoencoder, from_pixels

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
def reconstruction_metrics(
    model: Autoencoder,
    read: Callable[[np.ndarray[Any, Any]], np.ndarray[Any, Any]],
    count: int,
) -> Reconstruction:
    """Measure `model` on images 0..count-1 of `read` (rows -> uint8 [B, 3, D, D])."""
    geometry, codes = model.config.geometry, model.config.codebook_size
    where = next(model.parameters()).device
    squared = seen = 0.0
    error_S = torch.zeros(geometry.stages, dtype=torch.float64)
    hits_SV = torch.zeros(geometry.stages, codes, dtype=torch.int64)
    for start in range(0, count, BATCH):
        pixels = read(np.arange(start, min(start + BATCH, count)))
        images = from_pixels(torch.from_numpy(pixels).to(where))
        leaves, content, error_BS = model.tokenize(torch.from_numpy(pixels).to(where))
        rebuilt = model.decoder(model.quantizer.canvas(content, leaves)).clamp(-1, 1)
        squared += float((rebuilt - images).square().mean((1, 2, 3)).sum())
        error_S += error_BS.double().sum(0).cpu()
        seen += len(pixels)
        for stage in range(geometry.stages):
            tokens = content[:, geometry.stage_slice(stage)].flatten().cpu()
            hits_SV[stage] += torch.bincount(tokens, minlength=codes)
    mse = squared / seen
    used_S = (hits_SV > 0).sum(1).double()
    reach_S = hits_SV.sum(1).clamp(max=codes).double()
    return Reconstruction(
        images=int(seen),
        mse=mse,
        psnr=10 * math.log10(4 / max(mse, 1e-12)),
        stage_error=(error_S / seen).tolist(),
        usage=float((hits_SV.sum(0) > 0).double().mean()),
        stage_usage=(used_S / reach_S).tolist(),
    )
