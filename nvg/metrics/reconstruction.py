"""Measures of a tokenizer on held-out images.

Legend: B image of a batch, S stage, V code, T token.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from nvg.quantizer.usage import stage_entropy, stage_hits, stage_usage
from nvg.tokenizer.autoencoder import Autoencoder, from_pixels, to_pixels
from nvg.tokenizer.image_batch import Images

BATCH = 64

# uint8 images and their reconstructions, both [B, 3, D, D]
OnBatch = Callable[[Tensor, Tensor], None]


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


@torch.no_grad()
def reconstruction_metrics(
    model: Autoencoder, images: Images, on_batch: OnBatch | None = None
) -> Reconstruction:
    """Measure `model` on all of `images`; `on_batch` gets each batch and its reconstruction."""
    layout, codes = model.quantizer.layout, model.config.codebook_size
    device, seen = next(model.parameters()).device, 0
    squared_S, error_S = torch.zeros(2, layout.stages, dtype=torch.float64)
    hits_SV = np.zeros((layout.stages, codes), np.int64)
    for start in range(0, len(images), BATCH):
        batch = images.batch(np.arange(start, min(start + BATCH, len(images))))
        pixels, segments = batch.tensors(device)
        leaves, content, error_BS = model.tokenize(pixels, segments)
        for stage, canvas in enumerate(model.quantizer.canvases(content, leaves)):
            rebuilt = model.decoder(canvas).clamp(-1, 1)
            squared_S[stage] += (rebuilt - from_pixels(pixels)).square().mean((1, 2, 3)).sum().cpu()
        if on_batch:
            on_batch(pixels, to_pixels(rebuilt))
        error_S += error_BS.double().sum(0).cpu()
        hits_SV += stage_hits(content.cpu().numpy(), layout, codes)
        seen += len(pixels)
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
