"""What the builder accepts (any float dtype, layout, autocast) and what it refuses by its shape."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor

from nvg.structure import build_leaves
from tests.nvg.structure import reference
from tests.nvg.structure.cases import BACKENDS, assert_equal_to_reference
from tests.nvg.structure.kinds import KINDS, Kind, batch_of, normal_latents

every_backend = pytest.mark.parametrize("backend", BACKENDS)


@every_backend
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_any_float_dtype_means_its_own_values(dtype: torch.dtype, backend: str) -> None:
    """Half, bfloat16 and double latents give the leaves of the numbers that they hold."""
    latents_BNC = torch.from_numpy(normal_latents(np.random.default_rng(2), 64, 4))[None].to(dtype)
    expected = reference.greedy_leaves(latents_BNC[0].double().numpy())
    assert build_leaves(latents_BNC, backend=backend)[0].tolist() == expected


@every_backend
def test_leaves_carry_no_gradient(backend: str) -> None:
    """Latents of a training encoder are accepted, left alone, and the leaves are detached."""
    latents_BNC = torch.from_numpy(normal_latents(np.random.default_rng(2), 16, 4))[None]
    before = latents_BNC.clone()
    weight = torch.ones(4, requires_grad=True)
    for given in (latents_BNC.requires_grad_(), latents_BNC * weight):
        leaves_BN = build_leaves(given, backend=backend)
        assert not leaves_BN.requires_grad
        assert leaves_BN.grad_fn is None
        assert torch.equal(given.detach(), before)


def strided(latents_BNC: Tensor) -> Tensor:
    """Every second position and channel of a larger tensor."""
    batch, positions, channels = latents_BNC.shape
    larger = torch.full((batch, 2 * positions, 3 * channels), torch.nan, dtype=latents_BNC.dtype)
    larger[:, ::2, ::3] = latents_BNC
    return larger[:, ::2, ::3]


LAYOUTS: list[Callable[[Tensor], Tensor]] = [
    lambda x: x.transpose(1, 2).contiguous().transpose(1, 2),  # channels first, as an encoder gives
    lambda x: x.permute(2, 1, 0).contiguous().permute(2, 1, 0),
    lambda x: x.flip(1).contiguous().flip(1),
    lambda x: torch.cat((x, x))[len(x) :],
    strided,
]


@every_backend
@pytest.mark.parametrize("layout", LAYOUTS, ids=["transposed", "permuted", "flip", "part", "steps"])
def test_memory_layout_does_not_matter(layout: Callable[[Tensor], Tensor], backend: str) -> None:
    """Any view gives the leaves of its contiguous copy, and what it shows is not written to."""
    latents_BNC = torch.from_numpy(batch_of(KINDS[0], 4, 3, 64, 8))
    view = layout(latents_BNC)
    assert torch.equal(view, latents_BNC)
    assert (
        build_leaves(view, backend=backend).tolist()
        == build_leaves(latents_BNC, backend=backend).tolist()
    )
    assert torch.equal(view, latents_BNC)


def test_one_vector_for_all_positions_is_accepted() -> None:
    """A broadcast tensor, without memory of its own for each position, is a constant image."""
    latents_BNC = torch.randn(2, 1, 5, generator=torch.manual_seed(0)).expand(2, 16, 5)
    for backend in BACKENDS:
        assert build_leaves(latents_BNC, backend=backend).tolist() == [list(range(16))] * 2


@every_backend
@pytest.mark.parametrize("kind", KINDS)
def test_latents_are_only_read(kind: Kind, backend: str) -> None:
    """Latents are the same after the call, to the bit."""
    latents_BNC = torch.from_numpy(batch_of(kind, 5, 2, 32, 5))
    before = latents_BNC.clone()
    build_leaves(latents_BNC, backend=backend)
    assert torch.equal(latents_BNC, before)


@pytest.mark.thorough
@every_backend
def test_the_number_of_threads_does_not_matter(backend: str) -> None:
    """One thread and two give the same leaves."""
    batches = [torch.from_numpy(batch_of(kind, 6, 5, 64, 8)) for kind in KINDS]
    before, leaves = torch.get_num_threads(), []
    try:
        for threads in (1, 2):
            torch.set_num_threads(threads)
            leaves.append([build_leaves(one, backend=backend).tolist() for one in batches])
    finally:
        torch.set_num_threads(before)
    assert leaves[0] == leaves[1]


@pytest.mark.thorough
@every_backend
def test_autocast_does_not_matter(backend: str) -> None:
    """Called inside a reduced-precision region, the builder still computes exactly."""
    for kind in KINDS:
        latents_BNC = batch_of(kind, 6, 2, 64, 4)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            leaves_BN = build_leaves(torch.from_numpy(latents_BNC), backend=backend)
        assert leaves_BN.tolist() == [reference.greedy_leaves(one) for one in latents_BNC]


@pytest.mark.parametrize(
    ("offset", "noise", "dtype"),
    [
        (1e30, 1e24, np.float32),
        (1e30, 1e30, np.float32),
        (-3e38, 1e33, np.float32),
        (1e300, 1e286, np.float64),
        (1e300, 1e300, np.float64),
        (0, 1e-40, np.float32),
        (0, 1e-290, np.float64),
    ],
)
def test_huge_and_tiny_latents_equal_the_reference(
    offset: float, noise: float, dtype: type[np.floating]
) -> None:
    """Squares that the dtype could not hold are never taken."""
    latents_BNC = offset + noise * np.random.default_rng(7).uniform(-1, 1, size=(4, 64, 5))
    assert_equal_to_reference(latents_BNC.astype(dtype))


def test_a_span_beyond_float64_is_refused() -> None:
    """Doubles whose middle overflows are an error with the shape in it, like an infinity."""
    latents_BNC = torch.full((2, 4, 3), 1.7e308, dtype=torch.float64)
    latents_BNC[1, 2, 1] = 1.2e308
    for backend in BACKENDS:
        with pytest.raises(ValueError, match="2, 4, 3"):
            build_leaves(latents_BNC, backend=backend)


def test_an_unknown_backend_is_refused() -> None:
    """The error names the backend asked for."""
    with pytest.raises(ValueError, match="cuda-graphs"):
        build_leaves(torch.zeros(1, 4, 1), backend="cuda-graphs")


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
    for backend in BACKENDS:
        with pytest.raises(ValueError, match=r"3, 16, 4"):
            build_leaves(latents_BNC, backend=backend)


@pytest.mark.parametrize(
    "shape",
    [
        *[(2, 3, 1), (2, 12, 4), (1, 255, 2), (2, 1, 4)],
        *[(4, 4), (4,), (1, 2, 4, 4)],
        *[(0, 4, 2), (2, 0, 3), (2, 4, 0), (0, 0, 0)],
    ],
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


@every_backend
@pytest.mark.parametrize(
    ("size", "dtype"),
    [(2, torch.uint8), (128, torch.uint8), (256, torch.uint8), (512, torch.uint16)],
)
def test_leaves_use_the_stored_dtype(size: int, dtype: torch.dtype, backend: str) -> None:
    """Up to 256 positions a leaf is one byte, beyond that two, shaped as the batch."""
    latents_BNC = torch.from_numpy(normal_latents(np.random.default_rng(0), 2 * size, 2))
    leaves_BN = build_leaves(latents_BNC.reshape(2, size, 2), backend=backend)
    assert leaves_BN.dtype == dtype
    assert leaves_BN.shape == (2, size)
