"""The exact greedy builder against a reference that sorts all edges with Python integers."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from nvg.geometry import canonical, labels
from nvg.structure import build_leaves, lattice
from tests import reference
from tests.makers import normal_latents

# B image, N position, C latent channel
Latents = NDArray[np.floating]
SIZE = st.integers(1, 6).map(lambda exponent: 2**exponent)
CHANNELS = st.integers(1, 8)
SEED = st.integers(0, 2**32 - 1)
light = settings(deadline=None, max_examples=80)


def tied(rng: np.random.Generator, size: int, channels: int) -> Latents:
    """Small integers: most distances have many equals."""
    return rng.integers(-2, 3, size=(size, channels)).astype(np.float32)


def patches(rng: np.random.Generator, size: int, channels: int) -> Latents:
    """Long constant runs among noise, like sky or a blank border."""
    latents = normal_latents(rng, size, channels)
    latents[size // 4 : size - size // 4] = latents[0]
    return latents


def duplicates(rng: np.random.Generator, size: int, channels: int) -> Latents:
    """Every position is one of three vectors, in random order."""
    return normal_latents(rng, 3, channels)[rng.integers(0, 3, size=size)]


def offset(rng: np.random.Generator, size: int, channels: int) -> Latents:
    """Noise on an offset so large that float32 keeps only a few bits of it."""
    return (1e6 + rng.normal(size=(size, channels))).astype(np.float32)


def uneven(rng: np.random.Generator, size: int, channels: int) -> Latents:
    """One outlier takes the range, so the others share few lattice points."""
    latents = normal_latents(rng, size, channels)
    latents[-1] *= 1e5
    return latents


KINDS = [normal_latents, tied, patches, duplicates, offset, uneven]
Kind = Callable[[np.random.Generator, int, int], Latents]


def leaves_of(latents_NC: Latents) -> list[int]:
    """The leaves of one image as Python integers."""
    leaves: list[int] = build_leaves(torch.from_numpy(latents_NC)[None])[0].tolist()
    return leaves


@pytest.mark.parametrize(
    ("values", "leaves"),
    [
        ([0, 10, 1, 12], [0, 2, 1, 3]),
        ([5, 0, 0, 0], [0, 1, 2, 3]),
        ([0, 4, 7, 11], [0, 2, 3, 1]),
        ([3, 9, 3, 9, 3, 0, 9, 3], [0, 4, 1, 5, 2, 6, 7, 3]),
    ],
)
def test_golden_vectors(values: list[int], leaves: list[int]) -> None:
    """The builder and the reference both give the leaves worked out by hand in the method notes."""
    latents = np.array(values, dtype=np.float32)[:, None]
    assert leaves_of(latents) == leaves
    assert reference.greedy_leaves(latents) == leaves


@pytest.mark.parametrize("kind", KINDS)
@light
@given(seed=SEED, size=SIZE, channels=CHANNELS)
def test_leaves_equal_the_reference(kind: Kind, seed: int, size: int, channels: int) -> None:
    """Leaves are equal to the last bit, whatever the ties, repeats, offsets and outliers."""
    latents_NC = kind(np.random.default_rng(seed), size, channels)
    assert leaves_of(latents_NC) == reference.greedy_leaves(latents_NC)


@light
@given(
    hnp.arrays(
        np.float32,
        st.tuples(st.integers(1, 4).map(lambda exponent: 2**exponent), st.integers(1, 4)),
        elements=st.floats(-(2.0**100), 2.0**100, width=32),
    )
)
def test_leaves_equal_the_reference_on_any_floats(latents_NC: Latents) -> None:
    """Signed zeros, subnormals and mixed magnitudes change nothing about the equality."""
    assert leaves_of(latents_NC) == reference.greedy_leaves(latents_NC)


@pytest.mark.parametrize("kind", KINDS)
def test_full_size_leaves_equal_the_reference(kind: Kind) -> None:
    """The paper's size, 256 positions of 32 channels, equals the reference too."""
    latents_NC = kind(np.random.default_rng(7), 256, 32)
    assert leaves_of(latents_NC) == reference.greedy_leaves(latents_NC)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@light
@given(seed=SEED, size=SIZE, channels=CHANNELS, kind=st.sampled_from(KINDS))
def test_lattice_equals_the_reference(
    dtype: type[np.floating], seed: int, size: int, channels: int, kind: Kind
) -> None:
    """Every latent falls on the integer that the formula gives, in float32 and in float64."""
    rng = np.random.default_rng(seed)
    coarse_NC = kind(rng, size, channels)
    latents_NC = (coarse_NC + rng.normal(size=coarse_NC.shape)).astype(dtype)
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
    got: list[list[float]] = lattice(torch.from_numpy(latents_NC)[None])[0].tolist()
    assert got == reference.lattice(latents_NC)


@pytest.mark.parametrize("power", [0, 1, 10, 40, -1, -10, -40])
@pytest.mark.parametrize("bound", [2**22 - 1, 2**22, 2**23 - 1, 2**23 - 0.5, 2**23, 2**23 + 1])
@pytest.mark.parametrize("towards", [None, 0.0, np.inf])
def test_lattice_fills_its_bits_and_never_more(
    bound: float, power: int, towards: float | None
) -> None:
    """The scale steps exactly where s * max would pass 2^b - 1, one rounding error to each side."""
    extent = bound * 2.0**power
    extent = extent if towards is None else float(np.nextafter(extent, towards))
    latents_NC = np.array([[-extent], [extent], [0.0], [extent / 3]])
    assert reference.lattice_bits(4, 1) == 23
    lattice_N = lattice(torch.from_numpy(latents_NC)[None])[0, :, 0]
    assert 2**22 - 1 <= int(lattice_N.abs().max()) <= 2**23 - 1
    assert lattice_N[:, None].tolist() == reference.lattice(latents_NC)


def test_lattice_rounds_halves_to_even() -> None:
    """rint means half to even: 0.5 -> 0 and 1.5 -> 2."""
    bound = 2.0**22 - 1
    assert reference.lattice_bits(8, 1) == 22
    latents_N = torch.tensor([-bound, bound, 0.5, 1.5, 2.5, -0.5, -1.5, -2.5])
    expected = [-bound, bound, 0, 2, 2, 0, -2, -2]
    assert lattice(latents_N[None, :, None])[0, :, 0].tolist() == expected


def test_lattice_scales_each_image_by_itself() -> None:
    """An outlier in one image leaves the lattice of its neighbour in the batch alone."""
    rng = np.random.default_rng(1)
    latents_BNC = np.stack(
        [normal_latents(rng, 16, 4), 1e6 * normal_latents(rng, 16, 4), tied(rng, 16, 4)]
    )
    got: list[list[list[float]]] = lattice(torch.from_numpy(latents_BNC)).tolist()
    assert got == [reference.lattice(latents_NC) for latents_NC in latents_BNC]


@pytest.mark.parametrize("size", [2, 4, 16, 64, 256, 512])
@pytest.mark.parametrize("value", [0.0, -3.25, 1e6])
def test_a_constant_image_pairs_neighbours(size: int, value: float) -> None:
    """Without any difference the xor order pairs aligned neighbours: leaf p at position p."""
    assert leaves_of(np.full((size, 3), value, dtype=np.float32)) == list(range(size))


@light
@given(seed=SEED, size=SIZE, channels=CHANNELS, kind=st.sampled_from(KINDS))
def test_leaves_are_a_canonical_permutation(
    seed: int, size: int, channels: int, kind: Kind
) -> None:
    """Leaves use each label once, position 0 has leaf 0, and canonical() changes nothing."""
    latents_NC = kind(np.random.default_rng(seed), size, channels)
    leaves_N = build_leaves(torch.from_numpy(latents_NC)[None])[0]
    assert sorted(leaves_N.tolist()) == list(range(size))
    assert int(leaves_N[0]) == 0
    assert canonical(leaves_N).tolist() == leaves_N.tolist()


@light
@given(seed=SEED, size=SIZE, channels=CHANNELS, kind=st.sampled_from(KINDS))
def test_stages_nest_in_equal_clusters(seed: int, size: int, channels: int, kind: Kind) -> None:
    """Stage i has 2^i clusters of L / 2^i positions, and cluster j is split into 2j and 2j + 1."""
    last_stage = reference.log2(size)
    leaves_BN = build_leaves(
        torch.from_numpy(kind(np.random.default_rng(seed), size, channels))[None]
    )
    for stage in range(last_stage + 1):
        label_N = labels(leaves_BN, stage, last_stage)[0]
        counts = torch.bincount(label_N, minlength=2**stage)
        assert counts.tolist() == [2 ** (last_stage - stage)] * 2**stage
        if stage:
            assert torch.equal(label_N // 2, labels(leaves_BN, stage - 1, last_stage)[0])


@light
@given(seed=SEED, size=SIZE, channels=CHANNELS)
def test_a_batch_equals_its_images_one_by_one(seed: int, size: int, channels: int) -> None:
    """No image's leaves depend on what else is in the batch."""
    rng = np.random.default_rng(seed)
    latents_BNC = torch.from_numpy(np.stack([kind(rng, size, channels) for kind in KINDS]))
    alone_BN = torch.cat([build_leaves(latents_BNC[b : b + 1]) for b in range(len(KINDS))])
    assert build_leaves(latents_BNC).tolist() == alone_BN.tolist()


@light
@given(seed=SEED, size=SIZE, channels=CHANNELS)
def test_permuting_the_batch_permutes_the_leaves(seed: int, size: int, channels: int) -> None:
    """The order of the images in a batch is only the order of the answers."""
    rng = np.random.default_rng(seed)
    latents_BNC = torch.from_numpy(np.stack([kind(rng, size, channels) for kind in KINDS]))
    order = rng.permutation(len(KINDS)).tolist()
    leaves = build_leaves(latents_BNC).tolist()
    assert build_leaves(latents_BNC[order]).tolist() == [leaves[b] for b in order]


@light
@given(seed=SEED, size=SIZE, channels=CHANNELS)
def test_shift_and_power_of_two_scale_change_nothing(seed: int, size: int, channels: int) -> None:
    """Moving or scaling latents (exactly, by powers of two) leaves the hierarchy as it was."""
    latents_NC = tied(np.random.default_rng(seed), size, channels)
    leaves = leaves_of(latents_NC)
    assert leaves_of(latents_NC + np.float32(1024)) == leaves
    assert leaves_of(latents_NC * np.float32(2.0**-40)) == leaves
    assert leaves_of(-latents_NC) == leaves


def test_the_closest_pair_shares_its_last_split() -> None:
    """The globally closest two positions are always the two leaves of one stage K-1 cluster."""
    latents_BNC = torch.from_numpy(np.random.default_rng(3).normal(size=(20, 64, 5)))
    for latents_NC, leaves_N in zip(latents_BNC, build_leaves(latents_BNC), strict=True):
        distance_NN = (latents_NC[:, None] - latents_NC[None]).square().sum(-1)
        distance_NN.fill_diagonal_(torch.inf)
        i, j = divmod(int(distance_NN.argmin()), 64)
        assert int(leaves_N[i]) // 2 == int(leaves_N[j]) // 2


def test_two_byte_leaves_equal_the_reference() -> None:
    """A K = 9 hierarchy, whose leaves pass 255, equals the reference."""
    latents_NC = patches(np.random.default_rng(5), 512, 3)
    assert leaves_of(latents_NC) == reference.greedy_leaves(latents_NC)


def test_double_latents_keep_their_precision() -> None:
    """Differences that float32 could not hold still decide about double latents."""
    latents_NC = 1e9 + np.random.default_rng(8).normal(size=(64, 4))
    assert leaves_of(latents_NC) == reference.greedy_leaves(latents_NC)


def test_autocast_does_not_matter() -> None:
    """Called inside a reduced-precision region, the builder still computes exactly."""
    latents_NC = patches(np.random.default_rng(6), 64, 4)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        leaves = leaves_of(latents_NC)
    assert leaves == reference.greedy_leaves(latents_NC)
