"""The canvas that tokens and leaves give back: what it reads, in any dtype, as training sees it."""

import pytest
import torch

from nvg.choices import PhiForm
from nvg.geometry import Geometry
from nvg.quantizer import MultiGranularityQuantizer
from nvg.quantizer.residual import ResidualConv
from nvg.structure import build_leaves
from tests.nvg.launches import fake_cuda
from tests.nvg.quantizer.makers import quantizer_case

# B image, N position, C latent channel, T token


def test_an_early_canvas_needs_no_later_token() -> None:
    """The canvas of stage i reads the first 2^(i+1) - 1 tokens and no other."""
    quantizer, latents_BNC, leaves_BN = quantizer_case(4)
    content_BT = quantizer.encode(latents_BNC, leaves_BN)
    for stage in range(4):
        changed_BT = content_BT.clone()
        changed_BT[:, 2 ** (stage + 1) - 1 :] = 0
        before = quantizer.canvas(content_BT, leaves_BN, stage)
        assert torch.equal(quantizer.canvas(changed_BT, leaves_BN, stage), before)


def test_stored_dtypes_give_the_same_canvas() -> None:
    """uint16 content and uint8, uint16 or int64 leaves, as stores hold them, change nothing."""
    quantizer, latents_BNC, leaves_BN = quantizer_case(4)
    content_BT = quantizer.encode(latents_BNC, leaves_BN)
    expected = quantizer.canvas(content_BT, leaves_BN, 4)
    for content_dtype in (torch.uint16, torch.int32, torch.int64):
        for leaf_dtype in (torch.uint8, torch.uint16, torch.int64):
            got = quantizer.canvas(content_BT.to(content_dtype), leaves_BN.to(leaf_dtype), 4)
            assert torch.equal(got, expected)


def test_content_past_fifteen_bits_survives_uint16() -> None:
    """Codes above 32767 are read as unsigned, not as negative numbers."""
    quantizer = MultiGranularityQuantizer(65536, 1, Geometry(2))
    with torch.no_grad():
        quantizer.codebook.copy_(torch.linspace(-1, 1, 65536)[:, None])
    leaves_BN = torch.arange(4).to(torch.uint8)[None]
    content_BT = torch.tensor([[65535, 40000, 32768, 32767, 1, 0, 50000]])
    assert torch.equal(
        quantizer.canvas(content_BT.to(torch.uint16), leaves_BN, 2),
        quantizer.canvas(content_BT, leaves_BN, 2),
    )


def test_a_latent_made_of_codes_is_kept() -> None:
    """With identity refiners a constant image of one code is that code, then only zeros."""
    quantizer = MultiGranularityQuantizer(5, 2, Geometry(4))
    with torch.no_grad():
        quantizer.codebook.copy_(torch.tensor([[3, 3], [0, 0], [1, -2], [-4, 1], [9, 9]]))
        for name, parameter in quantizer.refiners.named_parameters():
            parameter.zero_()
            if name.endswith("weight"):
                parameter[range(2), range(2), 1, 1] = 1.0
    latents_BNC = torch.tensor([1.0, -2.0]).expand(1, 16, 2)
    leaves_BN = build_leaves(latents_BNC)
    content_BT = quantizer.encode(latents_BNC, leaves_BN)
    assert content_BT.tolist() == [[2] + [1] * 30]
    torch.testing.assert_close(quantizer.canvas(content_BT, leaves_BN, 4), latents_BNC)


@pytest.mark.parametrize("grid", [32])
def test_a_grid_of_1024_positions_uses_two_byte_leaves(grid: int) -> None:
    """K = 10: uint16 leaves, 2047 tokens, and forward, encode and canvas agree with each other."""
    quantizer, latents_BNC, leaves_BN = quantizer_case(grid, channels=3, codes=16, batch=1)
    assert leaves_BN.dtype == torch.uint16
    content_BT = quantizer.encode(latents_BNC, leaves_BN)
    assert content_BT.shape == (1, 2047)
    out = quantizer(latents_BNC, leaves_BN)
    assert torch.equal(out.content, content_BT)
    canvas_BNC = quantizer.canvas(content_BT.to(torch.uint16), leaves_BN, 10)
    torch.testing.assert_close(out.canvas, canvas_BNC, rtol=0, atol=1e-5)
    assert out.stage_error.shape == (11,)


@pytest.mark.parametrize("grid", [2, 4, 8])
def test_forward_agrees_with_encode_and_canvas(grid: int) -> None:
    """Training sees the tokens and the final canvas that tokenising and sampling will see."""
    quantizer, latents_BNC, leaves_BN = quantizer_case(grid)
    out = quantizer(latents_BNC, leaves_BN)
    content_BT = quantizer.encode(latents_BNC, leaves_BN)
    assert torch.equal(out.content, content_BT)
    canvas_BNC = quantizer.canvas(content_BT, leaves_BN, quantizer.geometry.K)
    torch.testing.assert_close(out.canvas, canvas_BNC, rtol=0, atol=1e-5)


def test_canvas_passes_gradients_straight_through() -> None:
    """The gradient of anything downstream reaches the latents unchanged."""
    quantizer, latents_BNC, leaves_BN = quantizer_case(4)
    latents_BNC.requires_grad_()
    upstream_BNC = torch.randn(latents_BNC.shape, generator=torch.Generator().manual_seed(5))
    (quantizer(latents_BNC, leaves_BN).canvas * upstream_BNC).sum().backward()
    assert latents_BNC.grad is not None
    torch.testing.assert_close(latents_BNC.grad, upstream_BNC, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("phi", list(PhiForm))
def test_autocast_does_not_reach_the_canvases(phi: PhiForm) -> None:
    """Bit-equal float32 canvases with and without it, wherever they are rebuilt from tokens."""
    quantizer, latents_BNC, leaves_BN = quantizer_case(4)
    for refiner in quantizer.refiners:
        assert isinstance(refiner, ResidualConv)
        refiner.form = phi
    content_BT = quantizer.encode(latents_BNC, leaves_BN)
    stages = [torch.tensor([[0, 3], [2, 4]])]

    def rebuilt() -> list[torch.Tensor]:
        before, final = quantizer.teacher_canvases(content_BT, leaves_BN, stages)
        code_BnC = quantizer.codes(content_BT[:, :1])
        first = quantizer.add_stage(quantizer.empty_canvas(2), code_BnC, leaves_BN, 0)
        return [*quantizer.canvases(content_BT, leaves_BN), *before, final, first]

    plain = rebuilt()
    with torch.autocast("cpu", torch.bfloat16):
        mixed = rebuilt()
    for one, other in zip(plain, mixed, strict=True):
        assert other.dtype == torch.float32
        assert torch.equal(one, other)


@pytest.mark.parametrize("phi", list(PhiForm))
def test_canvases_are_float32_under_autocast_on_a_gpu(phi: PhiForm) -> None:
    """Both forms of phi, which torch refuses to blend or add in other dtypes."""
    with fake_cuda():
        with torch.device("cuda"):
            quantizer = MultiGranularityQuantizer(24, 4, Geometry(4), phi)
            content_BT = torch.zeros(2, 31, dtype=torch.int64)
            leaves_BN = torch.arange(16).expand(2, -1)
            stages = [torch.tensor([[0, 3], [2, 4]])]
        with torch.autocast("cuda", torch.bfloat16):
            canvases = quantizer.canvases(content_BT, leaves_BN)
            before, final = quantizer.teacher_canvases(content_BT, leaves_BN, stages)
        assert {each.dtype for each in (*canvases, *before, final)} == {torch.float32}
