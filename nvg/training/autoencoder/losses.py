"""Terms of the autoencoder's loss (A.5) but for the adversarial one, see adversarial.py."""

import torch
import torch.nn.functional as F
from torch import Tensor

from nvg.pretrained.efficientnet import FeatureDistance
from nvg.pretrained.lpips import Perceptual
from nvg.quantizer.residual import Quantized
from nvg.training.autoencoder.config import LossConfig, PerceptualNetwork


def perceptual_of(
    config: LossConfig, side: int, device: torch.device
) -> Perceptual | FeatureDistance | None:
    """The network of the perceptual term for images of `side` pixels, where it has a weight."""
    if not config.perceptual:
        return None
    if config.network is PerceptualNetwork.EFFICIENTNET:
        return FeatureDistance().to(device)
    return Perceptual(config.vgg, side).to(device)


def autoencoder_loss(
    config: LossConfig,
    images: Tensor,
    reconstruction: Tensor,
    quantized: Quantized,
    perceptual: Perceptual | FeatureDistance | None = None,
) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
    """(weighted sum, its part on pixels, every unweighted term by name).

    Images [B, 3, D, D] in [-1, 1]. The adaptive weight relates that part to the adversarial one.
    """
    pixels = {
        "l1": F.l1_loss(reconstruction, images),
        "l2": F.mse_loss(reconstruction, images),
    }
    if perceptual is not None:
        pixels["perceptual"] = perceptual(reconstruction, images).mean()
    tokens = {"quantizer": quantized.loss}
    if config.entropy:
        tokens["entropy"] = quantized.entropy
    visible, hidden = (
        torch.stack([getattr(config, name) * term for name, term in terms.items()]).sum()
        for terms in (pixels, tokens)
    )
    return visible + hidden, visible, {**pixels, **tokens}


def add_terms(means: dict[str, Tensor], terms: dict[str, Tensor], share: float) -> None:
    """Add the terms of a micro-batch, this share of a step's images, to the means of the step."""
    for name, value in terms.items():
        mean = share * value.detach()
        means[name] = means[name] + mean if name in means else mean
