"""The autoencoder: shapes, switches, refusals, and tokens that decode to what it reconstructs."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from nvg.choices import ChildOrder, EncoderPrecision, PhiCount, PhiForm
from nvg.structure import build_leaves, order_by_merging
from nvg.tokenizer.autoencoder import (
    Detokenizer,
    from_pixels,
    load_autoencoder,
    save_autoencoder,
    to_pixels,
)
from nvg.tokenizer.config import AutoencoderConfig, Pyramid
from nvg.weights import CheckpointError, fingerprint, load_weights
from tests.nvg.tokenizer.makers import tiny_autoencoder, tiny_model

# B image, N position, C latent channel, D pixel row or column
light = settings(deadline=None, max_examples=25)
MERGING = replace(tiny_model(), child_order=ChildOrder.MERGING)
SPACE = replace(tiny_model(), builder="greedy+space", space_weight=0.7)
RELEASE = replace(MERGING, phi=PhiForm.RESIDUAL, phis=PhiCount.STAGE, outer_convs=False)


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


def test_the_precision_is_that_of_the_encoder_alone() -> None:
    """bfloat16 changes latents, on a CPU TF32 does not; tokens are those of the latents."""
    model, pixels = tiny_autoencoder(), make_pixels(2)
    single, tf32, half = (model.latents(pixels, each) for each in EncoderPrecision)
    with torch.no_grad():
        assert torch.equal(single, model.encoder(from_pixels(pixels)))
    assert torch.equal(tf32, single)
    assert half.dtype == torch.float32
    assert not torch.equal(half, single)
    torch.testing.assert_close(half, single, rtol=0.1, atol=0.1)
    with torch.autocast("cpu", torch.bfloat16):
        leaves, content, error = model.tokenize(pixels, precision=EncoderPrecision.BF16)
        assert torch.equal(model.latents(pixels), single)
    assert torch.equal(leaves, build_leaves(half))
    expected = model.quantizer.measure(half, leaves)
    assert torch.equal(content, expected[0])
    assert torch.equal(error, expected[1])


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


@pytest.mark.parametrize(
    "config", [MERGING, RELEASE, SPACE, replace(tiny_model(), outer_convs=False)]
)
def test_the_choices_survive_saving(config: AutoencoderConfig, tmp_path: Path) -> None:
    """Loaded again it has the same config and weights, and makes the same tokens and images."""
    model, pixels = tiny_autoencoder(3, config), make_pixels(2)
    save_autoencoder(model, tmp_path / "run")
    loaded = load_autoencoder(tmp_path / "run")
    assert loaded.config == config
    for one, other in zip(model.tokenize(pixels), loaded.tokenize(pixels), strict=True):
        assert torch.equal(one, other)
    leaves, content, _ = model.tokenize(pixels)
    assert torch.equal(loaded.decode(content, leaves), model.decode(content, leaves))


def test_weights_of_another_choice_are_refused(tmp_path: Path) -> None:
    """A model with outer convolutions, or four phi, does not take those of one without."""
    save_autoencoder(tiny_autoencoder(config=RELEASE), tmp_path / "run")
    for changes in ({"outer_convs": True}, {"phis": PhiCount.FOUR}):
        model = tiny_autoencoder(config=replace(RELEASE, **changes))  # type: ignore[arg-type]
        with pytest.raises(CheckpointError, match="does not fit the model"):
            load_weights(model, tmp_path / "run" / "autoencoder.safetensors")


@pytest.mark.parametrize("builder", ["greedy", "greedy+space", "optimal", "spatial", "segments"])
def test_leaves_stand_in_the_order_that_the_config_names(builder: str) -> None:
    """By position they are the builder's own; by merging the same hierarchy in that order."""
    generator = torch.Generator().manual_seed(7)
    latents_BNC = torch.randn(3, 16, 4, generator=generator)
    options: dict[str, Any] = {}
    weight = 0.9 if builder == "greedy+space" else None
    if weight:
        options["space_weight"] = weight
    if builder == "segments":
        options["segments"] = torch.randint(0, 3, (3, 16), generator=generator)
    built_BN = build_leaves(latents_BNC, builder, **options)
    expected = {
        ChildOrder.POSITION: built_BN,
        ChildOrder.MERGING: order_by_merging(latents_BNC, built_BN, weight or 0.0),
    }
    assert not torch.equal(*expected.values())
    for order, leaves_BN in expected.items():
        config = replace(tiny_model(), builder=builder, child_order=order, space_weight=weight)
        got_BN = tiny_autoencoder(config=config).leaves(latents_BNC, options.get("segments"))
        assert got_BN.dtype == torch.uint8
        assert torch.equal(got_BN, leaves_BN)


def test_the_weight_of_space_is_part_of_a_tokenizers_identity() -> None:
    """Other tokens, another fingerprint; that of a tokenizer without such a weight is as it was."""
    plain, close, far = (
        tiny_autoencoder(config=config)
        for config in (tiny_model(), SPACE, replace(SPACE, space_weight=1.4))
    )
    assert plain.choices == []
    assert close.choices == ["space_weight 0.7"]
    assert len({fingerprint(model) for model in (plain, close, far)}) == 3


def test_tokens_follow_the_order_of_merging() -> None:
    """The tokens of a cluster are its own in either order; they stand where its label says."""
    pixels = make_pixels(4, seed=5)
    by_position, by_merging = (
        tiny_autoencoder(config=tiny_model()),
        tiny_autoencoder(config=MERGING),
    )
    (old_BN, old_BT, old_error), (new_BN, new_BT, new_error) = (
        model.tokenize(pixels) for model in (by_position, by_merging)
    )
    latents_BNC = by_merging.encoder(from_pixels(pixels)).detach()
    assert torch.equal(new_BN, order_by_merging(latents_BNC, old_BN))
    assert not torch.equal(new_BN, old_BN)
    assert torch.allclose(new_error, old_error)
    for stage in range(5):
        start = 2**stage - 1
        old, new = (
            content_BT.gather(1, start + (leaves_BN.long() >> (4 - stage)))
            for content_BT, leaves_BN in ((old_BT, old_BN), (new_BT, new_BN))
        )
        assert torch.equal(old, new)


def test_scales_have_no_children_to_order() -> None:
    """Positions in order stand in for structure, whatever the config says."""
    config = replace(tiny_model(), pyramid=Pyramid.SCALE, child_order=ChildOrder.MERGING)
    leaves_BN = tiny_autoencoder(config=config).leaves(torch.randn(2, 16, 4))
    assert leaves_BN.tolist() == [list(range(16))] * 2
