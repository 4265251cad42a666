"""Discriminators of the autoencoder's adversarial loss (A.5): on DINO's features, on patches, or
on the maps of a convolutional network.

Legend: B image of a batch, D row or column of pixels or of the grid, N position, F feature
channel, L logit.
"""

from collections.abc import Callable
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

from nvg.pretrained.efficientnet import SIZE, FeatureMaps
from nvg.pretrained.vit import VisionTransformer
from nvg.training.autoencoder.config import DiscriminatorKind

READOUTS = 5  # places where features are read, from the token embedding to the last block
GRID = 14  # patches on a side, as DINO's ViT-S/16 sees 224 pixels
PATCH_WIDTH, PATCH_LAYERS = 64, 3


class FeatureDiscriminator(nn.Module):
    """Five heads on a frozen transformer: images [B, 3, D, D] in [-1, 1] -> logits [B, L].

    The transformer is not registered: it is neither trained nor saved.
    """

    def __init__(self, model: str, weights: Path) -> None:
        super().__init__()
        self._frozen = (VisionTransformer(model, weights, GRID),)
        self.heads = nn.ModuleList(_head(self._frozen[0].width) for _ in range(READOUTS))

    def forward(self, images: Tensor) -> Tensor:
        transformer = self._frozen[0].to(images.device)
        seen = _framed(images, transformer.size)
        readouts = transformer.readouts(seen, READOUTS)
        logits = [head(tokens.mT) for head, tokens in zip(self.heads, readouts, strict=True)]
        return torch.cat([each.flatten(1) for each in logits], dim=1)


def _framed(images: Tensor, size: int) -> Tensor:
    """Larger images are cropped at random or shrunk, by the toss of a coin; smaller ones grow."""
    side = images.shape[-1]
    if side <= size:
        return images  # the transformer enlarges them
    if torch.rand(()) < 0.5:
        return F.interpolate(images, (size, size), mode="area")
    top, left = torch.randint(side - size + 1, (2,)).tolist()
    return images[..., top : top + size, left : left + size]


class _Residual(nn.Module):
    """(f(x) + x) / sqrt 2."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, values: Tensor) -> Tensor:
        return (self.inner(values) + values) / 2**0.5


def _head(width: int) -> nn.Sequential:
    """Features [B, F, N] -> logits [B, 1, N]."""

    def block(kernel: int) -> nn.Sequential:
        conv = nn.Conv1d(
            width,
            width,
            kernel,
            padding=kernel // 2,
            padding_mode="circular" if kernel > 1 else "zeros",
        )
        return nn.Sequential(spectral_norm(conv), nn.BatchNorm1d(width), nn.LeakyReLU(0.2))

    return nn.Sequential(block(1), _Residual(block(9)), spectral_norm(nn.Conv1d(width, 1, 1)))


class PatchDiscriminator(nn.Module):
    """PatchGAN: three strided convolutions, two plain ones; a logit for each patch, [B, L]."""

    def __init__(self) -> None:
        super().__init__()
        widths = [PATCH_WIDTH * min(2**n, 8) for n in range(PATCH_LAYERS + 1)]
        layers: list[nn.Module] = [nn.Conv2d(3, widths[0], 4, 2, 1), nn.LeakyReLU(0.2)]
        for n in range(1, PATCH_LAYERS + 1):
            stride = 2 if n < PATCH_LAYERS else 1
            conv = nn.Conv2d(widths[n - 1], widths[n], 4, stride, 1, bias=False)
            layers += [conv, nn.BatchNorm2d(widths[n]), nn.LeakyReLU(0.2)]
        self.layers = nn.Sequential(*layers, nn.Conv2d(widths[-1], 1, 4, 1, 1))
        self.apply(_start)

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.layers(images)
        return logits.flatten(1)


def _start(module: nn.Module) -> None:
    """N(0, 0.02) for filters, N(1, 0.02) for the scale of norms."""
    if isinstance(module, nn.Conv2d):
        nn.init.normal_(module.weight, 0.0, 0.02)
    elif isinstance(module, nn.BatchNorm2d):
        nn.init.normal_(module.weight, 1.0, 0.02)


class MapDiscriminator(nn.Module):
    """A head on each map of a frozen EfficientNet-Lite0 (Sauer et al. 2021): images [B, 3, D, D] in
    [-1, 1] -> logits [B, L].

    The network is not registered: it is neither trained nor saved.
    """

    def __init__(self) -> None:
        super().__init__()
        self._frozen = (FeatureMaps(),)
        self.heads = nn.ModuleList(_map_head(width) for width in self._frozen[0].widths)

    def forward(self, images: Tensor) -> Tensor:
        maps = self._frozen[0].to(images.device)(_framed(images, SIZE))
        logits = [head(each) for head, each in zip(self.heads, maps, strict=True)]
        return torch.cat([each.flatten(1) for each in logits], dim=1)


def _map_head(width: int) -> nn.Sequential:
    """Features [B, F, D, D] -> logits [B, 1, D, D]."""

    def block(inputs: int, kernel: int) -> nn.Sequential:
        conv = nn.Conv2d(inputs, PATCH_WIDTH, kernel, padding=kernel // 2)
        return nn.Sequential(spectral_norm(conv), nn.BatchNorm2d(PATCH_WIDTH), nn.LeakyReLU(0.2))

    last = spectral_norm(nn.Conv2d(PATCH_WIDTH, 1, 1))
    return nn.Sequential(block(width, 1), _Residual(block(PATCH_WIDTH, 3)), last)


def build_discriminator(kind: DiscriminatorKind, model: str, weights: str) -> nn.Module:
    """The discriminator of that kind; InputError where its weights cannot be used."""
    makers: dict[DiscriminatorKind, Callable[[], nn.Module]] = {
        DiscriminatorKind.DINO: lambda: FeatureDiscriminator(model, Path(weights)),
        DiscriminatorKind.PATCH: PatchDiscriminator,
        DiscriminatorKind.EFFICIENTNET: MapDiscriminator,
    }
    return makers[kind]()
