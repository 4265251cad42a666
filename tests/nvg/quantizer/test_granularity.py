"""The multi-granularity quantizer against explicit loops, and what its gradients must be."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from nvg.geometry import Geometry
from nvg.quantizer import MultiGranularityQuantizer
from tests.nvg.quantizer import reference
from tests.nvg.quantizer.makers import quantizer_case
from tests.nvg.structure.reference import label

# B image, N position, C latent channel, V code, T token
Case = tuple[MultiGranularityQuantizer, Tensor, Tensor]
BETA = 0.25


def conv_weights(quantizer: MultiGranularityQuantizer, index: int) -> list[reference.Array]:
    """Weight and bias of one refiner's convolution, for the reference."""
    conv = quantizer.refiners[index].conv
    assert isinstance(conv, nn.Conv2d)
    assert conv.bias is not None
    return [parameter.detach().double().numpy() for parameter in (conv.weight, conv.bias)]


def reference_refine(quantizer: MultiGranularityQuantizer) -> reference.Refine:
    """The module's own weights, applied by the reference's naive convolution."""

    def refine(stage: int, grid_HWC: reference.Array) -> reference.Array:
        index = reference.refiner_index(stage, quantizer.geometry.K)
        weight_OC33, bias_O = conv_weights(quantizer, index)
        return reference.phi(grid_HWC, weight_OC33, bias_O)

    return refine


def reference_quantize(case: Case, image: int) -> tuple[list[int], list[reference.Array]]:
    """Content and canvases of one image of the case, by the reference."""
    quantizer, latents_BNC, leaves_BN = case
    codebook_VC = quantizer.codebook.detach().double().numpy()
    latents_NC, leaves_N = latents_BNC[image].double().numpy(), leaves_BN[image].tolist()
    return reference.quantize(latents_NC, leaves_N, codebook_VC, reference_refine(quantizer))


def test_parameters_have_the_agreed_shapes() -> None:
    """One codebook for all stages and four 3x3 refiners, as in VAR, and nothing else to learn."""
    quantizer = MultiGranularityQuantizer(24, 4, Geometry(8))
    assert quantizer.codebook.shape == (24, 4)
    shapes = [[array.shape for array in conv_weights(quantizer, index)] for index in range(4)]
    assert len(quantizer.refiners) == 4
    assert shapes == [[(4, 4, 3, 3), (4,)]] * 4
    names = {name.split(".")[0] for name, _ in quantizer.named_parameters()}
    assert names == {"codebook", "refiners"}


@pytest.mark.parametrize("grid", [2, 4, 8, 16, 32])
def test_refiner_index_is_the_nearest_tick(grid: int) -> None:
    """A stage uses the refiner whose tick is nearest to stage / K, the higher one on a tie."""
    geometry = Geometry(grid)
    quantizer = MultiGranularityQuantizer(8, 2, geometry)
    got = [quantizer.phi_index(stage) for stage in range(geometry.stages)]
    assert got == [reference.refiner_index(stage, geometry.K) for stage in range(geometry.stages)]


def test_refiner_index_at_the_papers_size() -> None:
    """The nine stages of a 16x16 grid share four refiners: 0 0 1 1 2 2 2 3 3."""
    quantizer = MultiGranularityQuantizer(8, 2, Geometry(16))
    assert [quantizer.phi_index(stage) for stage in range(9)] == [0, 0, 1, 1, 2, 2, 2, 3, 3]


def test_refiner_is_half_identity_half_convolution() -> None:
    """phi(h) = 0.5 h + 0.5 conv(h) with zero padding at the border."""
    quantizer, _, _ = quantizer_case(4)
    grid_BHWC = torch.randn(1, 5, 6, 4, generator=torch.Generator().manual_seed(1))
    for index, refiner in enumerate(quantizer.refiners):
        got = refiner(grid_BHWC.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)[0]
        expected = reference.phi(grid_BHWC[0].double().numpy(), *conv_weights(quantizer, index))
        np.testing.assert_allclose(got.detach().numpy(), expected, atol=1e-5)


@pytest.mark.parametrize(("grid", "channels", "codes"), [(2, 1, 3), (4, 4, 24), (8, 5, 40)])
@pytest.mark.parametrize("seed", [0, 1])
def test_content_equals_the_reference(grid: int, channels: int, codes: int, seed: int) -> None:
    """Every token of every stage is the reference's."""
    case = quantizer_case(grid, channels, codes, seed=seed)
    quantizer, latents_BNC, leaves_BN = case
    content_BT = quantizer.encode(latents_BNC, leaves_BN)
    assert content_BT.dtype == torch.int64
    assert content_BT.tolist() == [reference_quantize(case, b)[0] for b in range(2)]


@pytest.mark.parametrize(("grid", "channels", "codes"), [(2, 1, 3), (4, 4, 24), (8, 5, 40)])
def test_canvas_equals_the_reference_at_every_stage(grid: int, channels: int, codes: int) -> None:
    """canvas(content, leaves, i) is the latent accumulated up to and including stage i."""
    case = quantizer_case(grid, channels, codes)
    quantizer, latents_BNC, leaves_BN = case
    content_BT = quantizer.encode(latents_BNC, leaves_BN)
    expected = [reference_quantize(case, b)[1] for b in range(2)]
    for stage in range(quantizer.geometry.stages):
        got = quantizer.canvas(content_BT, leaves_BN, stage).detach().numpy()
        np.testing.assert_allclose(got, [canvases[stage] for canvases in expected], atol=1e-5)


def test_canvas_takes_any_content_and_any_leaves() -> None:
    """Tokens that no encoder produced, on leaves in any child order, still obey Eq. 5."""
    quantizer, _, _ = quantizer_case(4)
    generator = torch.Generator().manual_seed(9)
    leaves_BN = torch.stack([torch.randperm(16, generator=generator) for _ in range(2)])
    content_BT = torch.randint(0, 24, (2, 31), generator=generator)
    codebook_VC = quantizer.codebook.detach().double().numpy()
    refine = reference_refine(quantizer)
    for b in range(2):
        canvas_NC = np.zeros((16, 4))
        for stage in range(5):
            first = 2**stage - 1
            label_N = [label(int(leaf), stage, 4) for leaf in leaves_BN[b]]
            token_N = [int(content_BT[b, first + label]) for label in label_N]
            canvas_NC += refine(stage, codebook_VC[token_N].reshape(4, 4, 4)).reshape(16, 4)
            got = quantizer.canvas(content_BT, leaves_BN, stage)[b].detach().numpy()
            np.testing.assert_allclose(got, canvas_NC, atol=1e-5)


def test_encode_does_not_depend_on_the_batch() -> None:
    """A batch has the tokens of its images one by one, in the order of the batch."""
    quantizer, latents_BNC, leaves_BN = quantizer_case(8, batch=5)
    content = quantizer.encode(latents_BNC, leaves_BN).tolist()
    alone = [
        quantizer.encode(latents_BNC[b : b + 1], leaves_BN[b : b + 1])[0].tolist() for b in range(5)
    ]
    order = [3, 0, 4, 2, 1]
    assert content == alone
    assert quantizer.encode(latents_BNC[order], leaves_BN[order]).tolist() == [
        content[b] for b in order
    ]


def stage_errors(case: Case) -> list[float]:
    """The mean squared residual after every stage, from the reference's canvases."""
    latents = case[1].double().numpy()
    canvases = np.array([reference_quantize(case, b)[1] for b in range(len(latents))])
    return [float(((latents - canvases[:, i]) ** 2).mean()) for i in range(canvases.shape[1])]


@pytest.mark.parametrize("grid", [2, 4, 8])
def test_stage_error_is_the_mean_squared_residual(grid: int) -> None:
    """stage_error[i] is the error left after stage i, a number to log and not to train on."""
    case = quantizer_case(grid)
    out = case[0](case[1].requires_grad_(), case[2])
    assert not out.stage_error.requires_grad
    case[1].requires_grad_(False)
    np.testing.assert_allclose(out.stage_error.numpy(), stage_errors(case), rtol=1e-5)


@pytest.mark.parametrize("grid", [2, 4, 8])
def test_loss_is_the_mean_over_stages(grid: int) -> None:
    """Both halves of the loss have the same value, so it is (1 + beta) times the mean error."""
    case = quantizer_case(grid)
    loss = case[0](case[1], case[2]).loss
    assert loss.shape == ()
    assert loss.item() == pytest.approx((1 + BETA) * np.mean(stage_errors(case)), rel=1e-5)


def test_loss_pulls_latents_towards_every_canvas() -> None:
    """The latents' gradient is the commitment part's: beta * 2 (z - canvas_i) / size, averaged."""
    case = quantizer_case(4)
    quantizer, latents_BNC, leaves_BN = case
    canvases_BSNC = np.array([reference_quantize(case, b)[1] for b in range(2)])
    residual_BNC = latents_BNC.numpy() - canvases_BSNC.mean(1)
    quantizer(latents_BNC.requires_grad_(), leaves_BN).loss.backward()
    assert latents_BNC.grad is not None
    expected = BETA * 2 * residual_BNC / residual_BNC.size
    np.testing.assert_allclose(latents_BNC.grad.numpy(), expected, rtol=1e-4, atol=1e-7)


def canvas_loss(quantizer: MultiGranularityQuantizer, case: Case, content_BT: Tensor) -> Tensor:
    """The part of the loss that trains codebook and refiners, with the tokens held fixed."""
    canvases = [
        quantizer.canvas(content_BT, case[2], stage) for stage in range(quantizer.geometry.stages)
    ]
    return torch.stack([functional.mse_loss(canvas, case[1]) for canvas in canvases]).mean()


def test_loss_gradient_of_codebook_and_refiners() -> None:
    """A small step along any parameter changes the codebook part as its gradient says."""
    case = quantizer_case(4)
    quantizer = case[0].double()
    case = (quantizer, case[1].double(), case[2])
    out = quantizer(case[1], case[2])
    out.loss.backward()
    step = 1e-5
    for parameter in quantizer.parameters():
        assert parameter.grad is not None
        direction = torch.randn(
            parameter.shape, generator=torch.Generator().manual_seed(6)
        ).double()
        with torch.no_grad():
            parameter.add_(direction, alpha=step)
            above = canvas_loss(quantizer, case, out.content)
            parameter.sub_(direction, alpha=2 * step)
            below = canvas_loss(quantizer, case, out.content)
            parameter.add_(direction, alpha=step)
        slope = float((parameter.grad * direction).sum())
        assert slope == pytest.approx(float(above - below) / (2 * step), rel=1e-5, abs=1e-9)


def test_unused_codes_get_no_gradient() -> None:
    """Only the rows of the codebook that some token names are trained by the loss."""
    quantizer, latents_BNC, leaves_BN = quantizer_case(4, codes=200)
    out = quantizer(latents_BNC, leaves_BN)
    out.loss.backward()
    used = torch.zeros(200, dtype=torch.bool)
    used[out.content.flatten()] = True
    assert not used.all()
    assert quantizer.codebook.grad is not None
    assert torch.equal(quantizer.codebook.grad.abs().sum(1) != 0, used)


def test_tokens_are_not_trained_through() -> None:
    """encode() gives plain integers even while the latents and the codebook are being trained."""
    quantizer, latents_BNC, leaves_BN = quantizer_case(4)
    content_BT = quantizer.encode(latents_BNC.requires_grad_(), leaves_BN)
    assert not content_BT.requires_grad
    assert int(content_BT.min()) >= 0
    assert int(content_BT.max()) < 24


Call = Callable[[MultiGranularityQuantizer, Tensor, Tensor], object]


@pytest.mark.parametrize(
    "call", [MultiGranularityQuantizer.encode, MultiGranularityQuantizer.__call__]
)
@pytest.mark.parametrize("shape", [(2, 8, 4), (2, 16, 3), (16, 4)])
def test_latents_of_another_shape_are_refused(call: Call, shape: tuple[int, ...]) -> None:
    """Latents that do not fit the geometry or the codebook are an error naming their shape."""
    quantizer, _, leaves_BN = quantizer_case(4)
    with pytest.raises(ValueError, match=", ".join(map(str, shape))):
        call(quantizer, torch.zeros(shape), leaves_BN)
