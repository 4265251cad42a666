"""What both pyramids share: gradients through indices (IBQ), entropy, perfect residuals."""

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from nvg.quantizer import MultiGranularityQuantizer
from nvg.quantizer.residual import COMMITMENT, ENTROPY_TEMPERATURE, ResidualConv, ResidualQuantizer
from nvg.quantizer.scale import ScalePyramidQuantizer
from tests.nvg.quantizer.makers import quantizer_case

# B image, N position, n token, C latent channel, V code, R residual
Case = tuple[ResidualQuantizer, Tensor, Tensor]


def case(pyramid: str) -> Case:
    """Two images on a 4x4 grid."""
    clusters, latents, leaves = quantizer_case(4)
    if pyramid == "granularity":
        return clusters, latents, leaves
    scales = ScalePyramidQuantizer(24, 4, 4)
    scales.load_state_dict(clusters.state_dict())
    return scales, latents, leaves


PYRAMIDS = pytest.mark.parametrize("pyramid", ["granularity", "scale"])


@PYRAMIDS
def test_index_gradients_change_no_value(pyramid: str) -> None:
    """Tokens and canvas are the same whichever way the gradient goes."""
    quantizer, latents, leaves = case(pyramid)
    plain, soft = (quantizer(latents, leaves, ibq=each) for each in (False, True))
    assert torch.equal(plain.content, soft.content)
    assert torch.allclose(plain.canvas, soft.canvas, atol=1e-5)
    assert torch.equal(plain.means, soft.means)
    # Three terms of one size: (z_q - z)^2 with both sides moving, and with either alone.
    whole = float(plain.loss.detach()) / (1 + COMMITMENT)
    assert float(soft.loss.detach()) == pytest.approx(whole * (2 + COMMITMENT), rel=1e-5)


@PYRAMIDS
def test_index_gradients_reach_every_code(pyramid: str) -> None:
    """What a decoder asks for moves all rows of the codebook; straight-through it moves none."""
    for ibq in (False, True):
        quantizer, latents, leaves = case(pyramid)
        moving = latents.clone().requires_grad_()
        quantizer(moving, leaves, ibq=ibq).canvas.square().sum().backward()
        assert moving.grad is not None
        gradient = quantizer.codebook.grad
        if ibq:
            assert gradient is not None
            assert bool((gradient != 0).any(1).all())
        else:
            assert gradient is None


def test_index_gradient_is_the_softmaxs() -> None:
    """One stage by hand: d/dE of w.(P E), P = hard - sg(soft) + soft, logits -|r - e|^2."""
    quantizer, latents, leaves = case("granularity")
    for refiner in quantizer.refiners:
        assert isinstance(refiner, ResidualConv)
        assert refiner.conv.bias is not None
        torch.nn.init.zeros_(refiner.conv.weight)
        torch.nn.init.zeros_(refiner.conv.bias)
    found = quantizer(latents, leaves, ibq=True)
    weight = torch.randn(found.canvas.shape, generator=torch.Generator().manual_seed(3))
    (gradient,) = torch.autograd.grad((found.canvas * weight).sum(), quantizer.codebook)

    codebook = quantizer.codebook.detach().clone().requires_grad_()
    canvas, hard_canvas = torch.zeros_like(latents), torch.zeros_like(latents)
    for stage in range(5):
        mean = quantizer.pool(latents - hard_canvas, leaves, stage)
        soft = (-(mean.unsqueeze(2) - codebook).square().sum(-1)).softmax(-1)
        token = found.content[:, quantizer.layout.stage_slice(stage)]
        hard = functional.one_hot(token, 24).float()
        code = (hard - soft.detach() + soft) @ codebook
        canvas = canvas + 0.5 * quantizer.scatter(code, leaves, stage)
        hard_canvas = canvas.detach()
    (expected,) = torch.autograd.grad((canvas * weight).sum(), codebook)
    assert torch.allclose(gradient, expected, atol=1e-4)


@PYRAMIDS
def test_entropy_is_that_of_a_token_less_that_of_all(pyramid: str) -> None:
    """Residual by residual from the distances themselves."""
    quantizer, latents, leaves = case(pyramid)
    found = quantizer(latents, leaves, with_entropy=True)
    own, mean_V = 0.0, torch.zeros(24, dtype=torch.float64)
    for mean_C in found.means.double():
        distance_V = (mean_C - quantizer.codebook.detach().double()).square().sum(1)
        share_V = (-distance_V / ENTROPY_TEMPERATURE).softmax(0)
        own -= float(torch.xlogy(share_V, share_V).sum()) / len(found.means)
        mean_V += share_V / len(found.means)
    expected = own + float(torch.xlogy(mean_V, mean_V).sum())
    assert float(found.entropy.detach()) == pytest.approx(expected, abs=1e-4)
    assert float(quantizer(latents, leaves).entropy) == 0


@PYRAMIDS
def test_perfect_codes_leave_nothing(pyramid: str) -> None:
    """Spread and summed, the residuals of a perfect codebook are the latents."""
    quantizer, latents, leaves = case(pyramid)
    residuals, total, start = quantizer.residuals(latents, leaves), torch.zeros_like(latents), 0
    for stage in range(quantizer.layout.stages):
        count = 2 * quantizer.layout.clusters(stage)
        part = residuals[start : start + count].view(2, -1, 4)
        total = total + quantizer.scatter(part, leaves, stage)
        start += count
    assert start == len(residuals) == 2 * quantizer.layout.tokens
    assert torch.allclose(total, latents, atol=1e-5)


@PYRAMIDS
def test_canvases_from_tokens_are_those_of_quantizing(pyramid: str) -> None:
    """One after each stage; the error of the last is what `measure` says."""
    quantizer, latents, leaves = case(pyramid)
    content, error = quantizer.measure(latents, leaves)
    canvases = quantizer.canvases(content, leaves)
    for stage, canvas in enumerate(canvases):
        expected = (latents - canvas.detach()).square().mean((1, 2))
        assert torch.allclose(error[:, stage], expected, atol=1e-6)
        assert torch.equal(canvas, quantizer.canvas(content, leaves, stage))
    assert isinstance(quantizer, MultiGranularityQuantizer | ScalePyramidQuantizer)


@PYRAMIDS
def test_entropy_has_a_gradient_where_codes_are_far(pyramid: str) -> None:
    """A code whose share underflows to 0 must not make the gradient of the others no number."""
    quantizer, latents, leaves = case(pyramid)
    with torch.no_grad():
        quantizer.codebook[3:] += 1e3
    moving = latents.clone().requires_grad_()
    quantizer(moving, leaves, with_entropy=True).entropy.backward()
    assert moving.grad is not None
    assert quantizer.codebook.grad is not None
    assert bool(moving.grad.isfinite().all())
    assert bool(quantizer.codebook.grad.isfinite().all())
