"""Small networks: an extractor as a user writes one, a transformer of timm."""

from pathlib import Path

from torch import Tensor, nn


class Shrink(nn.Module):
    """The image at 2x2 pixels as 12 features."""

    def forward(self, pixels: Tensor) -> Tensor:
        return nn.functional.adaptive_avg_pool2d(pixels.float() / 255, 2).flatten(1)


def shrink(weights: Path | None) -> nn.Module:
    """An extractor as a user writes one."""
    return Shrink()


VIT = "test_vit"  # what it sees means nothing, how it travels does
OWN = f"{__name__}:shrink"
