"""Convolutional encoder and decoder of the VQGAN/VAR family (A.5).

Legend: B image of a batch, N position, C channel, D row or column of pixels or of the grid.
"""

import math

import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from nvg.tokenizer.config import AutoencoderConfig

GROUPS = 32


def _norm(channels: int) -> nn.GroupNorm:
    return nn.GroupNorm(math.gcd(GROUPS, channels), channels, eps=1e-6)


class ResidualBlock(nn.Module):
    """Two normalised 3x3 convolutions beside a shortcut."""

    def __init__(self, inputs: int, outputs: int, dropout: float) -> None:
        super().__init__()
        self.norm1 = _norm(inputs)
        self.conv1 = nn.Conv2d(inputs, outputs, 3, padding=1)
        self.norm2 = _norm(outputs)
        self.dropout = nn.Dropout(dropout)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1)
        self.shortcut = nn.Conv2d(inputs, outputs, 1) if inputs != outputs else nn.Identity()

    def forward(self, feature_BCDD: Tensor) -> Tensor:
        hidden = self.conv1(F.silu(self.norm1(feature_BCDD)))
        hidden = self.conv2(self.dropout(F.silu(self.norm2(hidden))))
        return self.shortcut(feature_BCDD) + hidden


class SpatialAttention(nn.Module):
    """Single-head self-attention over the positions of a feature map."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = _norm(channels)
        self.qkv = nn.Conv2d(channels, 3 * channels, 1)
        self.out = nn.Conv2d(channels, channels, 1)

    def forward(self, feature_BCDD: Tensor) -> Tensor:
        side = feature_BCDD.shape[-1]
        qkv = rearrange(self.qkv(self.norm(feature_BCDD)), "b (n c) y x -> n b (y x) c", n=3)
        if not feature_BCDD.is_cuda:  # the numbers of older stores, which a head of its own changes
            mixed = F.scaled_dot_product_attention(*qkv)
        else:  # fused attention asks for a head
            mixed = F.scaled_dot_product_attention(*qkv.unsqueeze(2)).squeeze(1)
        return feature_BCDD + self.out(rearrange(mixed, "b (y x) c -> b c y x", x=side))


class Downsample(nn.Module):
    """Stride-2 convolution, padded at the far edges only."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, stride=2)

    def forward(self, feature_BCDD: Tensor) -> Tensor:
        return self.conv(F.pad(feature_BCDD, (0, 1, 0, 1)))


class Upsample(nn.Module):
    """Nearest-neighbour doubling and a convolution."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, feature_BCDD: Tensor) -> Tensor:
        return self.conv(F.interpolate(feature_BCDD, scale_factor=2, mode="nearest"))


def _level(
    inputs: int, outputs: int, blocks: int, config: AutoencoderConfig, lowest: bool
) -> list[nn.Module]:
    """Residual blocks of one resolution, each followed by attention at the lowest one."""
    layers: list[nn.Module] = []
    for n in range(blocks):
        layers.append(ResidualBlock(inputs if n == 0 else outputs, outputs, config.dropout))
        if lowest and config.attention:
            layers.append(SpatialAttention(outputs))
    return layers


def _middle(channels: int, config: AutoencoderConfig) -> list[nn.Module]:
    layers: list[nn.Module] = [ResidualBlock(channels, channels, config.dropout)]
    if config.attention:
        layers.append(SpatialAttention(channels))
    return [*layers, ResidualBlock(channels, channels, config.dropout)]


def _outer_conv(config: AutoencoderConfig) -> nn.Module:
    if not config.outer_convs:
        return nn.Identity()
    return nn.Conv2d(config.latent_dim, config.latent_dim, 3, padding=1)


class Encoder(nn.Module):
    """Images [B, 3, D, D] in [-1, 1] -> latents [B, N, C]."""

    def __init__(self, config: AutoencoderConfig) -> None:
        super().__init__()
        widths = [config.base_channels * m for m in config.multipliers]
        layers: list[nn.Module] = [nn.Conv2d(3, config.base_channels, 3, padding=1)]
        inputs = config.base_channels
        for level, width in enumerate(widths):
            lowest = level == len(widths) - 1
            layers += _level(inputs, width, config.blocks, config, lowest)
            if not lowest:
                layers.append(Downsample(width))
            inputs = width
        layers += _middle(inputs, config)
        layers += [_norm(inputs), nn.SiLU(), nn.Conv2d(inputs, config.latent_dim, 3, padding=1)]
        self.layers = nn.Sequential(*layers)
        self.to_latent = _outer_conv(config)

    def forward(self, images: Tensor) -> Tensor:
        return rearrange(self.to_latent(self.layers(images)), "b c y x -> b (y x) c")


class Decoder(nn.Module):
    """Final canvas [B, N, C] -> images [B, 3, D, D], about [-1, 1]."""

    def __init__(self, config: AutoencoderConfig) -> None:
        super().__init__()
        widths = [config.base_channels * m for m in config.multipliers]
        self.grid = config.geometry.grid
        self.from_canvas = _outer_conv(config)
        inputs = widths[-1]
        layers: list[nn.Module] = [nn.Conv2d(config.latent_dim, inputs, 3, padding=1)]
        layers += _middle(inputs, config)
        for level, width in reversed(list(enumerate(widths))):
            lowest = level == len(widths) - 1
            layers += _level(inputs, width, config.blocks + 1, config, lowest)
            if level:
                layers.append(Upsample(width))
            inputs = width
        layers += [_norm(inputs), nn.SiLU(), nn.Conv2d(inputs, 3, 3, padding=1)]
        self.layers = nn.Sequential(*layers)

    def forward(self, canvas: Tensor) -> Tensor:
        grid_BCDD = rearrange(canvas, "b (y x) c -> b c y x", y=self.grid)
        return self.layers(self.from_canvas(grid_BCDD))
