"""The autoencoder: shapes, switches, refusals, and tokens that decode to what it reconstructs."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from nvg.tokenizer.autoencoder import Autoencoder, Detokenizer, from_pixels, to_pixels
from nvg.tokenizer.config import AutoencoderConfig
from nvg.tokenizer.encoder_decoder import Decoder, Encoder, SpatialAttention
from tests.nvg.generator.makers import randomize
from tests.nvg.tokenizer.makers import tiny_autoencoder, tiny_model

# B image, N position, C latent channel, D pixel row or column
light = settings(deadline=None, max_examples=25)


def make_pixels(count: int, size: int = 8, seed: int = 0) -> torch.Tensor:
    """Random images uint8 [B, 3, D, D]."""
    g = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (count, 3, size, size), generator=g, dtype=torch.uint8)


def attentions(module: nn.Module) -> int:
    return sum(isinstance(part, SpatialAttention) for part in module.modules())


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


@pytest.mark.parametrize(("grid", "count"), [(2, 1), (4, 3)])
def test_a_reconstruction_has_the_shape_of_its_images(grid: int, count: int) -> None:
    """Images in, images of the same size out, with the content of every stage."""
    model = tiny_autoencoder(config=tiny_model(grid))
    images = from_pixels(make_pixels(count, 2 * grid))
    rebuilt, quantized = model(images)
    assert rebuilt.shape == images.shape
    assert quantized.content.shape == (count, 2 * grid * grid - 1)
    assert quantized.stage_error.shape == (model.config.geometry.stages,)


@pytest.mark.parametrize("blocks", [1, 2])
def test_attention_is_at_the_lowest_resolution_only(blocks: int) -> None:
    """Per lowest block and once in the middle; the decoder has one block more; or none at all."""
    sizes = {"image_size": 16, "base_channels": 8, "multipliers": (1, 2, 2), "blocks": blocks}
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


@pytest.mark.parametrize(
    ("sizes", "message"),
    [
        ({"image_size": 250}, "image_size 250 .* downsampling 16"),
        ({"multipliers": ()}, "multipliers"),
        ({"image_size": 48}, "power of two"),
        ({"image_size": 16}, "power of two"),
        ({"codebook_size": 1}, "codebook_size .* not 1"),
        ({"codebook_size": 65537}, "codebook_size .* not 65537"),
    ],
)
def test_a_shape_that_cannot_be_built_is_refused(sizes: dict[str, object], message: str) -> None:
    """The config says which key is wrong, before any layer is made."""
    with pytest.raises(ValueError, match=message):
        AutoencoderConfig(**sizes)


def test_the_largest_codebook_fits_uint16() -> None:
    """65,536 codes are allowed: the ids 0..65535 fill uint16 exactly."""
    assert AutoencoderConfig(codebook_size=65536).codebook_size == 65536


@light
@given(seed=st.integers(0, 10**6), stage=st.integers(0, 4))
def test_decoding_tokens_equals_decoding_the_canvas(seed: int, stage: int) -> None:
    """tokenize, then Detokenizer.decode: the decoder's image of the quantiser's canvas."""
    model = tiny_autoencoder(seed % 3)
    detokenizer = Detokenizer(model.config)
    kept = {k: v for k, v in model.state_dict().items() if not k.startswith("encoder.")}
    detokenizer.load_state_dict(kept)
    leaves, content, _ = model.tokenize(make_pixels(2, seed=seed))
    with torch.no_grad():
        images = model.decoder(model.quantizer.canvas(content, leaves, stage)).numpy()
    expected = ((images.astype("float64") + 1) * 127.5).round().clip(0, 255)
    got = detokenizer.decode(content, leaves, stage)
    assert got.dtype == torch.uint8
    assert abs(got.numpy() - expected).max() <= 1  # a half may round either way
    assert (got.numpy() == expected).mean() > 0.99


def test_tokens_rebuild_the_reconstruction() -> None:
    """What training reconstructs is what the stored tokens decode to."""
    model, pixels = tiny_autoencoder(), make_pixels(3)
    leaves, content, _ = model.tokenize(pixels)
    with torch.no_grad():
        rebuilt, quantized = model(from_pixels(pixels))
        decoded = model.decoder(model.quantizer.canvas(content, leaves))
    assert torch.equal(content, quantized.content)
    torch.testing.assert_close(decoded, rebuilt, atol=1e-4, rtol=1e-4)


def test_an_image_is_tokenized_alike_in_any_batch() -> None:
    """Leaves and content do not depend on the other images of the batch."""
    model, pixels = tiny_autoencoder(), make_pixels(5)
    whole = model.tokenize(pixels)[:2]
    alone = [model.tokenize(pixels[n : n + 1])[:2] for n in range(5)]
    for n in range(2):
        assert torch.equal(whole[n], torch.cat([parts[n] for parts in alone]))


def test_gradient_reaches_every_parameter() -> None:
    """Encoder and decoder learn through the straight-through canvas, codebook from its own loss."""
    model = tiny_autoencoder(config=tiny_model(codebook_size=4)).train()
    rebuilt, quantized = model(from_pixels(make_pixels(4)))
    (rebuilt.square().mean() + quantized.loss).backward()
    silent = [n for n, p in model.named_parameters() if p.grad is None or not p.grad.any()]
    assert silent == []


def test_pixels_survive_the_round_trip() -> None:
    """from_pixels, then to_pixels, is the identity on every grey level."""
    pixels = torch.arange(256, dtype=torch.uint8)
    assert torch.equal(to_pixels(from_pixels(pixels)), pixels)


def test_pixel_range() -> None:
    """0 and 255 are -1 and 1; what the decoder overshoots is clipped."""
    assert from_pixels(torch.tensor([0, 255], dtype=torch.uint8)).tolist() == [-1.0, 1.0]
    assert to_pixels(torch.tensor([-3.0, -1.0, 0.0, 1.0, 9.0])).tolist() == [0, 0, 128, 255, 255]
