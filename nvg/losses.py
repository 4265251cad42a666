"""Terms of the autoencoder's loss (A.5). Perceptual and adversarial terms join this dictionary."""

from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor

from nvg.quantizer import Quantized


@dataclass(frozen=True, kw_only=True)
class LossConfig:
    """Weight of each term; the defaults are those of VAR's tokenizer trainer."""

    l1: float = 0.2
    l2: float = 1.0
    quantizer: float = 1.0


def autoencoder_loss(
    config: LossConfig, images: Tensor, reconstruction: Tensor, quantized: Quantized
) -> tuple[Tensor, dict[str, Tensor]]:
    """Weighted sum, and every unweighted term by name. Images [B, 3, D, D] in [-1, 1]."""
    terms = {
        "l1": F.l1_loss(reconstruction, images),
        "l2": F.mse_loss(reconstruction, images),
        "quantizer": quantized.loss,
    }
    total = sum(
        (getattr(config, name) * term for name, term in terms.items()), start=terms["l1"] * 0
    )
    return total, terms
