"""A classifier that needs no weights."""

from pathlib import Path

from torch import Tensor, nn


class Classified(nn.Module):
    """Colour means as features; their logits tell which colour is strongest."""

    def forward(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        means = pixels.float().mean((2, 3)) / 255
        return means, 50 * means


def classified(weights: Path | None) -> nn.Module:
    """For MODULE:FUNCTION."""
    return Classified()


CLASSIFIED = f"{__name__}:classified"
