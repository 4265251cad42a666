"""The autoencoder: shapes, switches, refusals, and tokens that decode to what it reconstructs."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from nvg.tokenizer.autoencoder import Detokenizer, from_pixels, to_pixels
from tests.nvg.tokenizer.makers import tiny_autoencoder, tiny_model

# B image, N position, C latent channel, D pixel row or column
light = settings(deadline=None, max_examples=25)


def make_pixels(count: int, size: int = 8, seed: int = 0) -> torch.Tensor:
    """Random images uint8 [B, 3, D, D]."""
    g = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (count, 3, size, size), generator=g, dtype=torch.uint8)


@pytest.mark.parametrize(("grid", "count"), [(2, 1), (4, 3)])
def test_a_reconstruction_has_the_shape_of_its_images(grid: int, count: int) -> None:
    """Images in, images of the same size out, with the content of every stage."""
    model = tiny_autoencoder(config=tiny_model(grid))
    images = from_pixels(make_pixels(count, 2 * grid))
    rebuilt, quantized = model(images)
    assert rebuilt.shape == images.shape
    assert quantized.content.shape == (count, 2 * grid * grid - 1)
    assert quantized.stage_error.shape == (model.config.geometry.stages,)


@light
@given(seed=st.integers(0, 10**6), stage=st.integers(0, 4))
def test_decoding_tokens_equals_decoding_the_canvas(seed: int, stage: int) -> None:
    """tokenize, then Detokenizer.decode: the decoder's image of the quantizer's canvas."""
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
