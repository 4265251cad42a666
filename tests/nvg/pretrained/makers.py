"""Small networks: an extractor as a user writes one, a transformer of timm."""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn


class Shrink(nn.Module):
    """The image at 2x2 pixels as 12 features; remembers what a product of float32 gives."""

    seen: tuple[str, torch.dtype]

    def forward(self, pixels: Tensor) -> Tensor:
        backends: Any = torch.backends
        one = torch.ones(2, 2)
        self.seen = (backends.cuda.matmul.fp32_precision, (one @ one).dtype)
        return nn.functional.adaptive_avg_pool2d(pixels.float() / 255, 2).flatten(1)


def shrink(weights: Path | None) -> nn.Module:
    """An extractor as a user writes one."""
    return Shrink()


VIT = "test_vit"  # what it sees means nothing, how it travels does
OWN = f"{__name__}:shrink"
