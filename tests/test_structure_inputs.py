"""What the builder accepts (any float dtype, layout, autocast) and what it refuses by its shape."""

import numpy as np
import pytest
import torch

from nvg.structure import build_leaves
from tests import reference
from tests.makers import normal_latents


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_any_float_dtype_means_its_own_values(dtype: torch.dtype) -> None:
    """Half, bfloat16 and double latents give the leaves of the numbers that they hold."""
    latents_BNC = torch.from_numpy(normal_latents(np.random.default_rng(2), 64, 4))[None].to(dtype)
    expected = reference.greedy_leaves(latents_BNC[0].double().numpy())
    assert build_leaves(latents_BNC)[0].tolist() == expected


def test_leaves_carry_no_gradient() -> None:
    """Latents of a training encoder are accepted, left alone, and the leaves are detached."""
    latents_BNC = torch.from_numpy(normal_latents(np.random.default_rng(2), 16, 4))[None]
    before = latents_BNC.clone()
    leaves_BN = build_leaves(latents_BNC.requires_grad_())
    assert not leaves_BN.requires_grad
    assert torch.equal(latents_BNC.detach(), before)


def test_memory_layout_does_not_matter() -> None:
    """A transposed, channel-first view gives the leaves of its contiguous copy."""
    latents_BCN = torch.from_numpy(normal_latents(np.random.default_rng(4), 3 * 8, 64)).reshape(
        3, 8, 64
    )
    latents_BNC = latents_BCN.transpose(1, 2)
    assert not latents_BNC.is_contiguous()
    assert build_leaves(latents_BNC).tolist() == build_leaves(latents_BNC.contiguous()).tolist()


def test_an_unknown_builder_is_refused() -> None:
    """The error names the builder asked for and lists the ones there are."""
    with pytest.raises(ValueError, match=r"(?s)(kmeans.*greedy|greedy.*kmeans)"):
        build_leaves(torch.zeros(1, 4, 1), builder="kmeans")


@pytest.mark.parametrize("bad", [torch.nan, torch.inf, -torch.inf])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_not_finite_latents_are_refused(bad: float, dtype: torch.dtype) -> None:
    """One NaN or infinity anywhere in the batch is an error with the shape in it."""
    latents_BNC = torch.zeros(3, 16, 4, dtype=dtype)
    latents_BNC[1, 7, 2] = bad
    with pytest.raises(ValueError, match=r"3, 16, 4"):
        build_leaves(latents_BNC)


@pytest.mark.parametrize(
    "shape", [(2, 3, 1), (2, 12, 4), (1, 255, 2), (4, 4), (4,), (1, 2, 4, 4), (0, 4, 2)]
)
def test_wrong_shapes_are_refused(shape: tuple[int, ...]) -> None:
    """Sizes that are no power of two, wrong ranks and empty batches are errors with the shape."""
    with pytest.raises(ValueError, match=", ".join(map(str, shape))):
        build_leaves(torch.zeros(shape))


@pytest.mark.parametrize("dtype", [torch.int64, torch.uint8, torch.bool])
def test_integer_latents_are_refused(dtype: torch.dtype) -> None:
    """Latents are floats: integers are more likely codes or pixels passed by mistake."""
    with pytest.raises(ValueError, match=r"2, 4, 3"):
        build_leaves(torch.zeros(2, 4, 3, dtype=dtype))


@pytest.mark.parametrize(
    ("size", "dtype"),
    [(2, torch.uint8), (128, torch.uint8), (256, torch.uint8), (512, torch.uint16)],
)
def test_leaves_use_the_stored_dtype(size: int, dtype: torch.dtype) -> None:
    """Up to 256 positions a leaf is one byte, beyond that two, shaped as the batch."""
    latents_BNC = torch.from_numpy(normal_latents(np.random.default_rng(0), 2 * size, 2))
    leaves_BN = build_leaves(latents_BNC.reshape(2, size, 2))
    assert leaves_BN.dtype == dtype
    assert leaves_BN.shape == (2, size)
