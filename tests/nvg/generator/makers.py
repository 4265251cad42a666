"""What tests of the generators share."""

from typing import Any

import torch
from torch import nn

from nvg.generator.config import RELEASE, GeneratorShape, TransformerConfig

# Sizes of make_shape.
CLASSES, CODES, CHANNELS, SCALE = 5, 11, 3, 2.0
RMS = (1.0, 0.5, 0.75, 1.5, 2.5, 4.0)  # of canvases, where their scale is per stage
SMALL = TransformerConfig(depth=1, width=64, heads=2)
RELEASED = RELEASE


def make_shape(**parts: Any) -> GeneratorShape:
    """A shape on a 4x4 grid; `parts` replace its own."""
    sizes: dict[str, Any] = {
        "transformer": SMALL,
        "grid": 4,
        "classes": CLASSES,
        "codebook_size": CODES,
        "latent_dim": CHANNELS,
        "latent_scale": SCALE,
    }
    return GeneratorShape(**sizes | parts)


def randomize(module: nn.Module, seed: int = 0, scale: float = 0.2) -> None:
    """Give every parameter, the zero-initialized ones included, its own random values."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.copy_(scale * torch.randn(parameter.shape, generator=generator))
