"""The integer lattice against the formula in Python's exact fractions."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from nvg.structure import build_leaves
from nvg.structure.lattice import LatentsError, lattice, lattice_frame
from tests.nvg.structure import reference
from tests.nvg.structure.kinds import KINDS, Kind, Latents, batch_of, normal_latents, tied

# B image, N position, C latent channel
SIZE = st.integers(1, 6).map(lambda exponent: 2**exponent)
light = settings(deadline=None, max_examples=80)


def points_of(latents_NC: Latents) -> list[list[float]]:
    """The lattice of one image as Python numbers."""
    points: list[list[float]] = lattice(torch.from_numpy(latents_NC)[None])[0].tolist()
    return points


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@light
@given(
    seed=st.integers(0, 2**32 - 1),
    size=SIZE,
    channels=st.integers(1, 8),
    kind=st.sampled_from(KINDS),
)
def test_lattice_equals_the_reference(
    dtype: type[np.floating], seed: int, size: int, channels: int, kind: Kind
) -> None:
    """Every latent falls on the integer that the formula gives, in float32 and in float64."""
    coarse_NC = batch_of(kind, seed, 1, size, channels)[0]
    noise_NC = np.random.default_rng(seed).normal(size=coarse_NC.shape)
    latents_NC = (coarse_NC + noise_NC).astype(dtype)
    lattice_BNC = lattice(torch.from_numpy(latents_NC)[None])
    assert lattice_BNC.dtype == torch.float64
    assert lattice_BNC[0].tolist() == reference.lattice(latents_NC)


@light
@given(
    hnp.arrays(
        np.float32,
        st.tuples(st.integers(1, 4).map(lambda exponent: 2**exponent), st.integers(1, 4)),
        elements=st.floats(width=32, allow_nan=False, allow_infinity=False),
    )
)
def test_lattice_equals_the_reference_over_the_float32_range(latents_NC: Latents) -> None:
    """The scale is found exactly from the smallest subnormal to the largest float32."""
    assert points_of(latents_NC) == reference.lattice(latents_NC)


@pytest.mark.parametrize("exponent", [-980, -900, -500, -150, 150, 500, 900, 1000, 1015, 1023])
@pytest.mark.parametrize(("size", "channels"), [(2, 1), (16, 3), (256, 32)])
def test_lattice_equals_the_reference_over_the_float64_range(
    size: int, channels: int, exponent: int
) -> None:
    """The scale is found exactly for double latents as small or as large as they come."""
    rng = np.random.default_rng(size)
    latents_NC = rng.uniform(-1, 1, size=(size, channels)) * 2.0**exponent
    assert points_of(latents_NC) == reference.lattice(latents_NC)


@pytest.mark.parametrize("power", [0, 1, 10, 40, -1, -10, -40])
@pytest.mark.parametrize("bound", [2**22 - 1, 2**22, 2**23 - 1, 2**23 - 0.5, 2**23, 2**23 + 1])
@pytest.mark.parametrize("towards", [None, 0.0, np.inf])
def test_lattice_fills_its_bits_and_never_more(
    bound: float, power: int, towards: float | None
) -> None:
    """The scale changes exactly where s * max passes 2^b - 1, also one rounding error away."""
    extent = bound * 2.0**power
    extent = extent if towards is None else float(np.nextafter(extent, towards))
    latents_NC = np.array([[-extent], [extent], [0.0], [extent / 3]])
    assert reference.lattice_bits(4, 1) == 23
    lattice_N = lattice(torch.from_numpy(latents_NC)[None])[0, :, 0]
    assert 2**22 - 1 <= int(lattice_N.abs().max()) <= 2**23 - 1
    assert lattice_N[:, None].tolist() == reference.lattice(latents_NC)


@pytest.mark.parametrize("channels", [1, 2, 3, 4, 5, 31, 32, 33, 64])
@pytest.mark.parametrize("size", [2, 4, 64, 256, 1024, 4096])
def test_no_key_of_any_level_passes_2_to_the_53(size: int, channels: int) -> None:
    """The bits leave room for the largest key, d2 * n + (n - 1) of opposite corners, as a float64.

    The compiled builder holds sums in int32 and float32 columns: those stay below 2^25.
    """
    latents_BNC = torch.ones(1, size, channels)
    latents_BNC[:, ::2] = -1
    scale = float(lattice_frame(latents_BNC).scale)
    bits = reference.lattice_bits(size, channels)
    assert scale == 2.0 ** (bits - 1)
    largest, clusters = 2**bits - 1, size
    while clusters > 1:
        assert channels * (2 * largest) ** 2 * clusters + clusters - 1 <= 2**53
        assert largest < 2**25
        largest, clusters = 2 * largest, clusters // 2


def test_lattice_rounds_halves_to_even() -> None:
    """rint means half to even: 0.5 -> 0 and 1.5 -> 2."""
    bound = 2.0**22 - 1
    assert reference.lattice_bits(8, 1) == 22
    latents_N = torch.tensor([-bound, bound, 0.5, 1.5, 2.5, -0.5, -1.5, -2.5])
    expected = [-bound, bound, 0, 2, 2, 0, -2, -2]
    assert lattice(latents_N[None, :, None])[0, :, 0].tolist() == expected


def test_lattice_scales_each_image_by_itself() -> None:
    """An outlier in one image does not affect the lattice of another image."""
    rng = np.random.default_rng(1)
    latents_BNC = np.stack(
        [normal_latents(rng, 16, 4), 1e6 * normal_latents(rng, 16, 4), tied(rng, 16, 4)]
    )
    got: list[list[list[float]]] = lattice(torch.from_numpy(latents_BNC)).tolist()
    assert got == [reference.lattice(latents_NC) for latents_NC in latents_BNC]


@pytest.mark.parametrize("kind", KINDS)
def test_a_frame_places_the_lattice(kind: Kind) -> None:
    """The lattice is rint((latent - middle) * scale), with a power of two as each image's scale."""
    latents_BNC = torch.from_numpy(batch_of(kind, 3, 4, 16, 5))
    frame = lattice_frame(latents_BNC)
    assert (frame.middle.shape, frame.scale.shape) == ((4, 1, 5), (4, 1, 1))
    assert frame.middle.dtype == frame.scale.dtype == torch.float64
    assert torch.equal(frame.scale.frexp().mantissa, torch.full((4, 1, 1), 0.5).double())
    expected_BNC = ((latents_BNC.double() - frame.middle) * frame.scale).round()
    assert torch.equal(lattice(latents_BNC), expected_BNC)


@pytest.mark.parametrize("value", [0.0, -7.5, 1e30])
def test_a_constant_image_has_scale_one(value: float) -> None:
    """For constant latents every position is the origin and the scale is 1."""
    latents_BNC = torch.full((2, 4, 3), value)
    assert lattice_frame(latents_BNC).scale.flatten().tolist() == [1.0, 1.0]
    assert not lattice(latents_BNC).any()


def test_a_span_beyond_float64_is_refused() -> None:
    """Where the middle of a range overflows, the error says so; `build_leaves` adds the shape."""
    latents_BNC = torch.tensor([1.7e308, 1.2e308], dtype=torch.float64).reshape(1, 2, 1)
    with pytest.raises(LatentsError, match="span"):
        lattice_frame(latents_BNC)
    for backend in ("numba", "torch", "faiss"):
        with pytest.raises(ValueError, match=r"span.*1, 2, 1"):
            build_leaves(latents_BNC, backend=backend)
