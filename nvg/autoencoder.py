"""Convolutional autoencoder of the VQGAN/VAR family around the multi-granularity quantiser (A.5).

Legend: B image, N position, C latent channel or feature channel, D image or grid row or column.
"""

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from nvg.config import require_positive, require_share
from nvg.geometry import Geometry
from nvg.quantizer import MultiGranularityQuantizer, Quantized
from nvg.structure import build_leaves, require_builder_name

GROUPS = 32


@dataclass(frozen=True, kw_only=True)
class AutoencoderConfig:
    """Shape of the tokenizer. The defaults are the paper's (Table 2): 256x256 -> 16x16x32."""

    image_size: int = 256
    base_channels: int = 128
    multipliers: tuple[int, ...] = (1, 1, 2, 2, 4)
    blocks: int = 2
    attention: bool = True
    dropout: float = 0.0
    latent_dim: int = 32
    codebook_size: int = 4096
    builder: str = "greedy"

    def __post_init__(self) -> None:
        require_positive(self, "base_channels", "blocks", "latent_dim")
        require_share(self, "dropout")
        if not self.multipliers or min(self.multipliers) < 1:
            raise ValueError("multipliers must name at least one resolution, each at least 1")
        require_builder_name(self.builder)
        if self.image_size % self.downsampling:
            raise ValueError(
                f"image_size {self.image_size} is not a multiple of the downsampling "
                f"{self.downsampling} that {len(self.multipliers)} multipliers make"
            )
        if not 2 <= self.codebook_size <= 65536:
            raise ValueError(f"codebook_size must be 2..65536 (uint16), not {self.codebook_size}")
        _ = self.geometry

    @property
    def downsampling(self) -> int:
        """Image pixels per latent position along one side."""
        return 1 << (len(self.multipliers) - 1)

    @property
    def geometry(self) -> Geometry:
        """The latent grid; ValueError if its side is not a power of two."""
        return Geometry(self.image_size // self.downsampling)


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
        mixed = F.scaled_dot_product_attention(*qkv)
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
        self.to_latent = nn.Conv2d(config.latent_dim, config.latent_dim, 3, padding=1)

    def forward(self, images: Tensor) -> Tensor:
        return rearrange(self.to_latent(self.layers(images)), "b c y x -> b (y x) c")


class Decoder(nn.Module):
    """Final canvas [B, N, C] -> images [B, 3, D, D], about [-1, 1]."""

    def __init__(self, config: AutoencoderConfig) -> None:
        super().__init__()
        widths = [config.base_channels * m for m in config.multipliers]
        self.grid = config.geometry.grid
        self.from_canvas = nn.Conv2d(config.latent_dim, config.latent_dim, 3, padding=1)
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


class Detokenizer(nn.Module):
    """Tokens -> images: codebook, refiners and decoder; all a sampler or a viewer needs."""

    def __init__(self, config: AutoencoderConfig) -> None:
        super().__init__()
        self.config = config
        self.quantizer = MultiGranularityQuantizer(
            config.codebook_size, config.latent_dim, config.geometry
        )
        self.decoder = Decoder(config)

    @torch.no_grad()
    def decode(self, content: Tensor, leaves: Tensor, stage: int | None = None) -> Tensor:
        """Pixels uint8 [B, 3, D, D] of the canvas after `stage` (the last by default)."""
        return to_pixels(self.decoder(self.quantizer.canvas(content, leaves, stage)))


class Autoencoder(Detokenizer):
    """Images <-> (leaves, content): the tokenizer."""

    def __init__(self, config: AutoencoderConfig) -> None:
        super().__init__(config)
        self.encoder = Encoder(config)

    def forward(self, images: Tensor, segments: Tensor | None = None) -> tuple[Tensor, Quantized]:
        """Reconstruction [B, 3, D, D] of images in [-1, 1], and what the quantiser did.

        `segments` [B, N] are label maps, for a builder that takes them.
        """
        latents = self.encoder(images)
        quantized = self.quantizer(latents, self.leaves(latents, segments))
        return self.decoder(quantized.canvas), quantized

    @torch.no_grad()
    def tokenize(
        self, pixels: Tensor, segments: Tensor | None = None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Pixels uint8 [B, 3, D, D] -> leaves [B, N], content [B, 2N-1], stage error [B, K+1]."""
        latents = self.encoder(from_pixels(pixels))
        leaves = self.leaves(latents, segments)
        return (leaves, *self.quantizer.measure(latents, leaves))

    def leaves(self, latents: Tensor, segments: Tensor | None = None) -> Tensor:
        """Leaves [B, N] of latents [B, N, C] by the builder that the config names."""
        options = {} if segments is None else {"segments": segments}
        return build_leaves(latents, self.config.builder, **options)


def from_pixels(pixels: Tensor) -> Tensor:
    """uint8 0..255 -> float in [-1, 1]."""
    return pixels.float() / 127.5 - 1


def to_pixels(images: Tensor) -> Tensor:
    """Float in [-1, 1] -> uint8 0..255, rounded and clipped."""
    return ((images.float() + 1) * 127.5).round().clamp(0, 255).to(torch.uint8)
