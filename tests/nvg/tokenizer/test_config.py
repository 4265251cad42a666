"""Shapes of tokenizers: the paper's, and those that cannot be built."""

from typing import Any

import pytest
import torch

from nvg.tokenizer.config import AutoencoderConfig
from nvg.tokenizer.encoder_decoder import Decoder, Encoder


def test_the_papers_shape_is_16_times_downsampling() -> None:
    """256x256 becomes a 16x16 grid of 32 channels, and comes back (Table 2)."""
    config = AutoencoderConfig(base_channels=8, blocks=1)
    latents = Encoder(config)(torch.zeros(1, 3, 256, 256))
    assert latents.shape == (1, 16 * 16, 32)
    assert Decoder(config)(latents).shape == (1, 3, 256, 256)


def test_four_times_downsampling_at_32_pixels() -> None:
    """Three multipliers halve twice: 32x32 becomes 8x8."""
    config = AutoencoderConfig(image_size=32, base_channels=8, multipliers=(1, 2, 2), blocks=1)
    assert config.downsampling == 4
    assert config.geometry.grid == 8
    assert Encoder(config)(torch.zeros(2, 3, 32, 32)).shape == (2, 64, 32)


def test_the_defaults_are_the_papers() -> None:
    """Base channels 128, latent 16x16x32, codebook 4096 (A.5, Table 2)."""
    config = AutoencoderConfig()
    sizes = (config.image_size, config.downsampling, config.geometry.grid)
    assert sizes == (256, 16, 16)
    assert (config.base_channels, config.latent_dim, config.codebook_size) == (128, 32, 4096)


@pytest.mark.parametrize(
    ("sizes", "message"),
    [
        ({"image_size": 250}, "image_size 250 .* downsampling 16"),
        ({"multipliers": ()}, "multipliers"),
        ({"image_size": 48}, "power of two"),
        ({"image_size": 16}, "power of two"),
        ({"codebook_size": 1}, "codebook_size .* not 1"),
        ({"codebook_size": 65537}, "codebook_size .* not 65537"),
        ({"base_channels": 10**30}, "base_channels must be at most 65536, not 10+"),
        ({"latent_dim": 1 << 62}, "latent_dim must be at most 65536"),
        ({"image_size": 1 << 20}, "image_size must be at most 65536"),
        ({"blocks": 10**7}, "blocks must be at most 1024"),
        ({"multipliers": (1 << 20, 1)}, "multipliers of base_channels must be at most 65536"),
    ],
)
def test_a_shape_that_cannot_be_built_is_refused(sizes: dict[str, Any], message: str) -> None:
    """The config says which key is wrong, before any layer is made."""
    with pytest.raises(ValueError, match=message):
        AutoencoderConfig(**sizes)


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ({"builder": "greedy+space"}, "needs space_weight"),
        ({"space_weight": 0.5}, "belongs to builder 'greedy\\+space'"),
        ({"builder": "spatial", "space_weight": 0.0}, "belongs to builder"),
        ({"builder": "greedy+space", "space_weight": -1.0}, "at least 0, not -1.0"),
    ],
)
def test_a_weight_of_space_goes_with_its_builder(shape: dict[str, Any], message: str) -> None:
    """Neither without the other, and no weight that means nothing."""
    with pytest.raises(ValueError, match=message):
        AutoencoderConfig(**shape)
    assert AutoencoderConfig(builder="greedy+space", space_weight=0.0).space_weight == 0


def test_the_largest_codebook_fits_uint16() -> None:
    """65,536 codes are allowed: the ids 0..65535 fill uint16 exactly."""
    assert AutoencoderConfig(codebook_size=65536).codebook_size == 65536
