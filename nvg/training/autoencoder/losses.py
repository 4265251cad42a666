"""Terms of the autoencoder's loss (A.5) but for the adversarial one, see adversarial.py."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from nvg.pretrained.lpips import Perceptual
from nvg.quantizer.residual import Quantized


@dataclass(frozen=True, kw_only=True)
class LossConfig:
    """Weight of each term; the defaults are those of VAR's tokenizer trainer, without LPIPS."""

    l1: float = 0.2
    l2: float = 1.0
    quantizer: float = 1.0
    perceptual: float = 0.0
    """LPIPS, 1.0 in all trainers that use it."""
    vgg: str = ""
    """Local file of torchvision's VGG16 weights for LPIPS, or "random" for a trial without."""
    entropy: float = 0.0
    """Entropy of a token minus that of all; 0.05 in IBQ, 0.1 in Open-MAGVIT2."""

    def __post_init__(self) -> None:
        for name in ("l1", "l2", "quantizer", "perceptual", "entropy"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} must not be negative, not {getattr(self, name)}")
        if self.perceptual and not self.vgg:
            raise ValueError('perceptual needs vgg: a file of VGG16 weights, or "random"')


def autoencoder_loss(
    config: LossConfig,
    images: Tensor,
    reconstruction: Tensor,
    quantized: Quantized,
    perceptual: Perceptual | None = None,
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
