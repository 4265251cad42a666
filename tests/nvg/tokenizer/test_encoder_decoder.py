"""The convolutional encoder and decoder: sizes, where attention is, and the outer convolutions."""

from dataclasses import replace
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from einops import rearrange
from torch import nn

from nvg.tokenizer.autoencoder import Autoencoder
from nvg.tokenizer.config import AutoencoderConfig
from nvg.tokenizer.encoder_decoder import SpatialAttention
from tests.nvg.generator.makers import randomize
from tests.nvg.launches import Launches, fake_cuda
from tests.nvg.tokenizer.makers import tiny_autoencoder, tiny_model


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


def test_attention_on_a_gpu_is_one_kernel() -> None:
    """It has a head there, which the fused kernel asks for; the values are the same."""
    attention = F.scaled_dot_product_attention
    with fake_cuda():
        with torch.device("cuda"):
            layer, feature_BCDD = SpatialAttention(8), torch.randn(2, 8, 3, 3)
        with Launches() as launches:
            assert layer(feature_BCDD).shape == feature_BCDD.shape
    fused = [name for name in launches.kernels if "attention" in name]
    assert [launches.kernels[name] for name in fused] == [1]
    one = torch.randn(3, 2, 9, 8, generator=torch.Generator().manual_seed(0))
    with_head = attention(*one.unsqueeze(2)).squeeze(1)
    torch.testing.assert_close(with_head, attention(*one))


OUTER = {
    f"{part}.{name}"
    for part in ("encoder.to_latent", "decoder.from_canvas")
    for name in ("weight", "bias")
}


def test_the_outer_convolutions_are_all_that_the_switch_takes() -> None:
    """Without them these four weights are gone and every other name and shape stays."""
    shapes = [
        {
            name: weight.shape
            for name, weight in tiny_autoencoder(config=config).state_dict().items()
        }
        for config in (tiny_model(), replace(tiny_model(), outer_convs=False))
    ]
    assert shapes[0].keys() - shapes[1].keys() == OUTER
    assert {name: shapes[0][name] for name in shapes[1]} == shapes[1]


def test_without_outer_convolutions_the_layers_are_all() -> None:
    """Latents are what the layers give, and the canvas is what they take."""
    model = tiny_autoencoder(config=replace(tiny_model(), outer_convs=False))
    images_BCDD = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        latents_BNC = model.encoder(images_BCDD)
        inner_BCDD = model.encoder.layers(images_BCDD)
        assert latents_BNC.shape == (2, 16, 4)
        assert torch.equal(rearrange(latents_BNC, "b (y x) c -> b c y x", y=4), inner_BCDD)
        assert torch.equal(model.decoder(latents_BNC), model.decoder.layers(inner_BCDD))
