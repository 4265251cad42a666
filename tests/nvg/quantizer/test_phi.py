"""The residual convs phi: how one joins its input, how many there are, and what a store says."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load as load_tensors
from safetensors.torch import save
from torch import Tensor

from nvg.choices import PhiCount, PhiForm
from nvg.geometry import Geometry
from nvg.quantizer import MultiGranularityQuantizer
from nvg.quantizer.granularity import load_quantizer
from nvg.quantizer.residual import ResidualConv, ResidualQuantizer
from nvg.quantizer.scale import ScalePyramidQuantizer
from nvg.weights import read_header, weights_bytes
from tests.nvg.quantizer import reference
from tests.nvg.quantizer.makers import quantizer_case
from tests.nvg.tokenizer.makers import tiny_autoencoder, tiny_model

# B image, N position, C latent channel, V code, T token, H row, W column
OLD_STORE = Path(__file__).parents[2] / "golden" / "v0.1" / "tokens.vgs"
FORMULAS = {PhiForm.BLEND: reference.phi, PhiForm.RESIDUAL: reference.residual_phi}
every_form = pytest.mark.parametrize("form", PhiForm)
every_count = pytest.mark.parametrize("count", PhiCount)
Case = tuple[MultiGranularityQuantizer, Tensor, Tensor]


def random_weights(module: torch.nn.Module) -> None:
    """Weights large enough that each of them matters."""
    generator = torch.Generator().manual_seed(8)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.copy_(0.3 * torch.randn(parameter.shape, generator=generator))


def case(form: PhiForm, count: PhiCount, grid: int = 4) -> Case:
    """A quantizer of these choices with two images."""
    _, latents_BNC, leaves_BN = quantizer_case(grid)
    quantizer = MultiGranularityQuantizer(24, 4, Geometry(grid), form, count)
    random_weights(quantizer)
    return quantizer, latents_BNC, leaves_BN


def apply(refiner: torch.nn.Module, form: PhiForm, grid_HWC: reference.Array) -> reference.Array:
    """One phi by the formula of its form and a naive convolution."""
    assert isinstance(refiner, ResidualConv)
    assert refiner.conv.bias is not None
    weight_OC33, bias_O = refiner.conv.weight.detach(), refiner.conv.bias.detach()
    return FORMULAS[form](grid_HWC, weight_OC33.double().numpy(), bias_O.double().numpy())


@every_form
def test_phi_is_its_formula(form: PhiForm) -> None:
    """(h + conv(h)) / 2 or h + conv(h) / 2, with zero padding at the border."""
    refiner = ResidualConv(4, form)
    random_weights(refiner)
    grid_BHWC = torch.randn(1, 5, 6, 4, generator=torch.Generator().manual_seed(1))
    got = refiner(grid_BHWC.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)[0]
    expected = apply(refiner, form, grid_BHWC[0].double().numpy())
    np.testing.assert_allclose(got.detach().numpy(), expected, atol=1e-5)


def test_a_silent_convolution_halves_its_input_or_keeps_it() -> None:
    """Where the two forms differ: what is left of h when conv(h) is 0."""
    grid_BCDD = torch.randn(1, 4, 3, 3, generator=torch.Generator().manual_seed(2))
    for form, left in ((PhiForm.BLEND, 0.5), (PhiForm.RESIDUAL, 1.0)):
        refiner = ResidualConv(4, form)
        for parameter in refiner.parameters():
            torch.nn.init.zeros_(parameter)
        assert torch.equal(refiner(grid_BCDD), left * grid_BCDD)


@every_form
@every_count
@pytest.mark.parametrize("pyramid", [MultiGranularityQuantizer, ScalePyramidQuantizer])
def test_every_phi_has_the_form_asked_for(
    pyramid: type[ResidualQuantizer], form: PhiForm, count: PhiCount
) -> None:
    """Four of them, or one for each stage; clusters and scales alike."""
    quantizer: ResidualQuantizer
    if pyramid is ScalePyramidQuantizer:
        quantizer = ScalePyramidQuantizer(8, 2, 16, form, count)
    else:
        quantizer = MultiGranularityQuantizer(8, 2, Geometry(16), form, count)
    stages = quantizer.layout.stages
    assert len(quantizer.refiners) == (stages if count is PhiCount.STAGE else 4)
    assert {refiner.form for refiner in quantizer.refiners} == {form}
    served = {quantizer.phi_index(stage) for stage in range(stages)}
    assert served == set(range(len(quantizer.refiners)))


@pytest.mark.parametrize("grid", [2, 4, 16, 32])
def test_each_stage_has_its_own_phi(grid: int) -> None:
    """Stage i takes phi i, whatever the number of stages."""
    quantizer = MultiGranularityQuantizer(8, 2, Geometry(grid), phis=PhiCount.STAGE)
    stages = range(quantizer.geometry.stages)
    assert [quantizer.phi_index(stage) for stage in stages] == list(stages)


def test_nine_phis_serve_the_stages_nearest_to_their_ticks() -> None:
    """The rule of VAR with as many phi as stages comes to the same."""
    quantizer = MultiGranularityQuantizer(8, 2, Geometry(16), phis=PhiCount.STAGE)
    ticks = np.linspace(1 / 18, 17 / 18, 9)
    nearest = [int(np.argmin(np.abs(ticks - stage / 8))) for stage in range(9)]
    assert [quantizer.phi_index(stage) for stage in range(9)] == nearest == list(range(9))


@every_form
@every_count
def test_tokens_and_canvases_are_the_reference_s(form: PhiForm, count: PhiCount) -> None:
    """Every token, and the canvas after every stage, by loops over clusters."""
    quantizer, latents_BNC, leaves_BN = case(form, count)

    def refine(stage: int, grid_HWC: reference.Array) -> reference.Array:
        shared = reference.refiner_index(stage, 4)
        index = stage if count is PhiCount.STAGE else shared
        return apply(quantizer.refiners[index], form, grid_HWC)

    codebook_VC = quantizer.codebook.detach().double().numpy()
    expected = [
        reference.quantize(latents_NC, leaves_N, codebook_VC, refine)
        for latents_NC, leaves_N in zip(
            latents_BNC.double().numpy(), leaves_BN.tolist(), strict=True
        )
    ]
    content_BT = quantizer.encode(latents_BNC, leaves_BN)
    assert content_BT.tolist() == [content for content, _ in expected]
    canvases = quantizer.canvases(content_BT, leaves_BN)
    for stage, canvas_BNC in enumerate(canvases):
        wanted = [by_stage[stage] for _, by_stage in expected]
        np.testing.assert_allclose(canvas_BNC.detach().numpy(), wanted, atol=1e-4)


@every_form
@every_count
def test_rebuilt_canvases_are_those_of_encoding(form: PhiForm, count: PhiCount) -> None:
    """Training, measuring, and rebuilding from tokens see the same canvas after every stage."""
    quantizer, latents_BNC, leaves_BN = case(form, count, grid=8)
    out = quantizer(latents_BNC, leaves_BN)
    content_BT, error_BS = quantizer.measure(latents_BNC, leaves_BN)
    assert torch.equal(out.content, content_BT)
    canvases = quantizer.canvases(content_BT, leaves_BN)
    torch.testing.assert_close(canvases[-1], out.canvas, rtol=0, atol=1e-5)
    for stage, canvas_BNC in enumerate(canvases):
        left_B = (latents_BNC - canvas_BNC.detach()).square().mean((1, 2))
        torch.testing.assert_close(left_B, error_BS[:, stage])


@every_form
@every_count
def test_training_moves_every_phi(form: PhiForm, count: PhiCount) -> None:
    """The loss has a gradient to each of them."""
    quantizer, latents_BNC, leaves_BN = case(form, count)
    quantizer(latents_BNC, leaves_BN).loss.backward()
    for parameter in quantizer.refiners.parameters():
        assert parameter.grad is not None
        assert bool(parameter.grad.any())


def assert_same_canvases(one: ResidualQuantizer, other: ResidualQuantizer) -> None:
    """Two quantizers on the 4x4 grid make the same of any tokens, to the bit."""
    generator = torch.Generator().manual_seed(3)
    content_BT = torch.randint(0, len(one.codebook), (2, 31), generator=generator)
    leaves_BN = torch.stack([torch.randperm(16, generator=generator) for _ in range(2)])
    pairs = (quantizer.canvases(content_BT, leaves_BN) for quantizer in (one, other))
    assert all(torch.equal(a, b) for a, b in zip(*pairs, strict=True))


@every_form
@every_count
def test_a_quantizer_is_loaded_as_it_was_made(form: PhiForm, count: PhiCount) -> None:
    """Form and count stand in the header beside the weights."""
    model = tiny_autoencoder(config=replace(tiny_model(), phi=form, phis=count))
    data = weights_bytes(model.quantizer.state_dict(), model.config)
    loaded = load_quantizer(data, Geometry(4))
    assert {refiner.form for refiner in loaded.refiners} == {form}
    assert loaded.phis is count
    assert_same_canvases(loaded, model.quantizer)


def test_a_header_without_the_choices_means_the_first_of_each() -> None:
    """A tokenizer that was made before there were any."""
    model = tiny_autoencoder()
    data = weights_bytes(model.quantizer.state_dict(), model.config)
    header = read_header(data)
    for name in ("phi", "phis", "child_order", "outer_convs"):
        del header["config"][name]
    older = save(load_tensors(data), metadata={"nvg": json.dumps(header)})
    assert_same_canvases(load_quantizer(older, Geometry(4)), model.quantizer)


def test_a_store_of_version_0_1_has_four_blending_phis() -> None:
    """Its header names no form and no count."""
    data = (OLD_STORE / "tokenizer.safetensors").read_bytes()
    assert {"phi", "phis"}.isdisjoint(read_header(data)["config"])
    grid = json.loads((OLD_STORE / "manifest.json").read_text())["grid"]
    loaded = load_quantizer(data, Geometry(grid))
    assert loaded.phis is PhiCount.FOUR
    assert [refiner.form for refiner in loaded.refiners] == [PhiForm.BLEND] * 4
