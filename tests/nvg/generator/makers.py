"""What tests of the generators share."""

import torch
from torch import nn


def randomize(module: nn.Module, seed: int = 0, scale: float = 0.2) -> None:
    """Give every parameter, the zero-initialized ones included, its own random values."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.copy_(scale * torch.randn(parameter.shape, generator=generator))
