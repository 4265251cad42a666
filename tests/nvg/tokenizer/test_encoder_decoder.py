"""The convolutional encoder and decoder: sizes, and where attention is."""

from typing import Any

import pytest
import torch
from torch import nn

from nvg.tokenizer.autoencoder import Autoencoder
from nvg.tokenizer.config import AutoencoderConfig
from nvg.tokenizer.encoder_decoder import SpatialAttention
from tests.nvg.generator.makers import randomize


def attentions(module: nn.Module) -> int:
    return sum(isinstance(part, SpatialAttention) for part in module.modules())


@pytest.mark.parametrize("blocks", [1, 2])
def test_attention_is_at_the_lowest_resolution_only(blocks: int) -> None:
    """Per lowest block and once in the middle; the decoder has one block more; or none at all."""
    sizes: dict[str, Any] = {
        "image_size": 16,
        "base_channels": 8,
        "multipliers": (1, 2, 2),
        "blocks": blocks,
    }
    model = Autoencoder(AutoencoderConfig(**sizes))
    assert (attentions(model.encoder), attentions(model.decoder)) == (blocks + 1, blocks + 2)
    assert attentions(Autoencoder(AutoencoderConfig(**sizes, attention=False))) == 0


def test_attention_mixes_all_positions() -> None:
    """One changed position of a feature map changes every other position, by softmax over all."""
    layer = SpatialAttention(4)
    randomize(layer, scale=0.5)
    one = torch.randn(1, 4, 3, 3, generator=torch.Generator().manual_seed(0))
    other = one.clone()
    other[0, 0, 0, 0] += 1
    assert ((layer(one) - layer(other)).abs().amax((0, 1)) > 1e-6).all()
