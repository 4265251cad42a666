"""Positions beside latents: every backend against a slow reference, and what follows by proof."""

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from nvg.geometry import labels
from nvg.structure import build_leaves, order_by_merging
from nvg.structure.lattice import LatentsError, lattice
from nvg.structure.space import grid_sides, latent_spread, with_positions
from tests.nvg.structure import reference, reference_space
from tests.nvg.structure.cases import BACKENDS, SAMPLED
from tests.nvg.structure.kinds import KINDS, Kind, Latents, batch_of, normal_latents, tied

# B image, N position, C latent channel
Indices = NDArray[np.integer]
SIZE = st.integers(1, 6).map(lambda exponent: 2**exponent)
SEED = st.integers(0, 2**32 - 1)
WEIGHT = st.one_of(st.sampled_from([0.0, 0.35, 0.7, 1.4]), st.floats(0, 100))
every_backend = pytest.mark.parametrize("backend", BACKENDS)
light = settings(deadline=None, max_examples=40)


def leaves_of(latents_BNC: Latents, weight: float, backend: str = "numba") -> list[list[int]]:
    """The leaves of a batch by one backend, as Python integers."""
    leaves: list[list[int]] = build_leaves(
        torch.from_numpy(latents_BNC), "greedy+space", space_weight=weight, backend=backend
    ).tolist()
    return leaves


def assert_equal_to_reference(latents_BNC: Latents, weight: float) -> None:
    """Every backend gives the reference's leaves, and in the order of merging the reference's."""
    joined = [reference_space.with_positions(latents_NC, weight) for latents_NC in latents_BNC]
    expected = [reference.greedy_leaves(joined_NC) for joined_NC in joined]
    assert {
        backend: leaves_of(latents_BNC, weight, backend) for backend in BACKENDS
    } == dict.fromkeys(BACKENDS, expected)
    merged_BN = order_by_merging(torch.from_numpy(latents_BNC), torch.tensor(expected), weight)
    assert merged_BN.tolist() == [reference.merging_leaves(joined_NC) for joined_NC in joined]


@every_backend
@pytest.mark.parametrize(
    ("weight", "leaves"), [(0, [0, 2, 3, 1]), (0.8, [0, 2, 3, 1]), (0.9, [0, 2, 1, 3])]
)
def test_golden_vectors(weight: float, leaves: list[int], backend: str) -> None:
    """The values 0 10 / 12 1 on a 2x2 grid, by hand.

    Their variance is 28.1875, that of a coordinate 1/4, so a step of the grid counts 112.75 w^2.
    Diagonals, 1 and 4 apart, cost two steps; 10 and 1, one above the other, are 81 and one step
    apart: they come first when 112.75 w^2 > 80, which is w > 0.842.
    """
    latents_BNC = np.array([0, 10, 12, 1], dtype=np.float32)[None, :, None]
    assert leaves_of(latents_BNC, weight, backend) == [leaves]
    assert latent_spread(torch.from_numpy(latents_BNC)).tolist() == [28.1875**0.5]


@pytest.mark.parametrize("size", [2, 8, 16, 32])
@pytest.mark.parametrize("kind", SAMPLED)
def test_leaves_equal_the_reference(kind: Kind, size: int) -> None:
    """Leaves are identical for ties, repeats, offsets and outliers, also on oblong grids."""
    for channels in (1, 2, 6, 7, 16, 31):
        for weight in (0.35, 1.4):
            assert_equal_to_reference(batch_of(kind, 1, 2, size, channels), weight)


@light
@given(
    hnp.arrays(
        np.float32,
        st.tuples(
            st.integers(1, 2),
            st.integers(1, 4).map(lambda exponent: 2**exponent),
            st.integers(1, 4),
        ),
        elements=st.floats(-(2.0**100), 2.0**100, width=32),
    ),
    WEIGHT,
)
@example(np.zeros((1, 2, 1), np.float32), 5e-324)
def test_leaves_equal_the_reference_on_any_floats(latents_BNC: Latents, weight: float) -> None:
    """Leaves are identical for signed zeros, subnormals, mixed magnitudes and any weight."""
    assert_equal_to_reference(latents_BNC, weight)


@light
@given(seed=SEED, size=SIZE, channels=st.integers(1, 8), kind=st.sampled_from(KINDS))
def test_weight_0_is_greedy(seed: int, size: int, channels: int, kind: Kind) -> None:
    """To the bit, in either child order."""
    latents_BNC = torch.from_numpy(batch_of(kind, seed, 2, size, channels))
    expected_BN = build_leaves(latents_BNC)
    for backend in BACKENDS:
        assert leaves_of(latents_BNC.numpy(), 0.0, backend) == expected_BN.tolist()
    assert with_positions(latents_BNC, 0.0) is latents_BNC
    merged = [order_by_merging(latents_BNC, expected_BN, *weight) for weight in ((), (0.0,))]
    assert torch.equal(*merged)


@every_backend
@pytest.mark.parametrize("weight", [1e-3, 0.35, 7.0])
@pytest.mark.parametrize("size", [2, 4, 8, 16, 64, 256, 512])
def test_a_constant_image_is_a_quadtree(size: int, weight: float, backend: str) -> None:
    """Positions alone decide; equal distances stay equal, so pairs align, whatever the weight."""
    latents_BNC = np.full((1, size, 3), -3.3, dtype=np.float32)
    assert (
        leaves_of(latents_BNC, weight, backend)
        == build_leaves(torch.zeros(1, size, 3), "spatial").tolist()
    )


@light
@given(seed=SEED, size=SIZE, channels=st.integers(1, 8), kind=st.sampled_from(KINDS))
def test_a_huge_weight_is_a_quadtree(seed: int, size: int, channels: int, kind: Kind) -> None:
    """Then latents lie below the resolution of the lattice."""
    latents_BNC = batch_of(kind, seed, 1, size, channels)
    assert leaves_of(latents_BNC, 1e9) == build_leaves(torch.zeros(1, size, 1), "spatial").tolist()


@light
@given(seed=SEED, size=SIZE, channels=st.integers(1, 8), kind=st.sampled_from(KINDS), weight=WEIGHT)
def test_the_lattice_holds_positions_exactly(
    seed: int, size: int, channels: int, kind: Kind, weight: float
) -> None:
    """On the lattice of the joined channels, rows and columns are integers of one equal step."""
    latents_BNC = torch.from_numpy(batch_of(kind, seed, 1, size, channels))
    joined_BNC = with_positions(latents_BNC, weight + 1e-3)
    place_NC = lattice(joined_BNC)[0, :, -2:]
    high, wide = grid_sides(size)
    expected_NC = torch.tensor(reference_space.places(size)).double()
    half_step = place_NC[-1, 1] / (wide - 1)
    assert high * wide == size
    assert half_step == half_step.round()
    assert torch.equal(place_NC, half_step * expected_NC)
    assert torch.equal(joined_BNC[..., :-2], latents_BNC.double())


@pytest.mark.parametrize("weight", [0.35, 1.4])
def test_positions_are_as_spread_as_the_weight_says(weight: float) -> None:
    """Root mean square of the new channels, over that of the latents, within a lattice step."""
    latents_BNC = torch.from_numpy(batch_of(normal_latents, 3, 4, 256, 16)).double()
    joined_BNC = with_positions(latents_BNC, weight)
    root_B = (latents_BNC - latents_BNC.mean(1, keepdim=True)).square().mean((1, 2)).sqrt()
    ratio_B = joined_BNC[..., -2:].square().mean((1, 2)).sqrt() / root_B
    assert torch.allclose(ratio_B, torch.full_like(ratio_B, weight), rtol=1e-2)
    assert torch.allclose(latent_spread(latents_BNC), root_B, rtol=1e-3)


@every_backend
def test_a_batch_equals_its_images_one_by_one(backend: str) -> None:
    """Leaves depend neither on the other images, nor on their order, nor on the threads."""
    rng = np.random.default_rng(5)
    latents_BNC = np.stack([kind(rng, 32, 5).astype(np.float64) for kind in KINDS])
    alone = [leaves_of(latents_BNC[b : b + 1], 0.7, backend)[0] for b in range(len(KINDS))]
    order = rng.permutation(len(KINDS))
    threads = torch.get_num_threads()
    try:
        for count in (1, 3):
            torch.set_num_threads(count)
            assert leaves_of(latents_BNC, 0.7, backend) == alone
            assert leaves_of(latents_BNC[order], 0.7, backend) == [alone[b] for b in order]
    finally:
        torch.set_num_threads(threads)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("kind", KINDS)
def test_a_gpu_gives_the_same_leaves(kind: Kind) -> None:
    """Spread, positions and pairs are exact there too."""
    latents_BNC = torch.from_numpy(batch_of(kind, 4, 4, 256, 32))
    leaves_BN = build_leaves(latents_BNC, "greedy+space", space_weight=0.7)
    found_BN = build_leaves(latents_BNC.cuda(), "greedy+space", space_weight=0.7)
    assert torch.equal(found_BN.cpu(), leaves_BN)


@light
@given(seed=SEED, size=SIZE, channels=st.integers(1, 8), weight=WEIGHT)
def test_shift_scale_sign_and_order_of_channels_change_nothing(
    seed: int, size: int, channels: int, weight: float
) -> None:
    """Positions are in units of the spread: what greedy is blind to, so is this."""
    latents_BNC = batch_of(tied, seed, 1, size, channels).astype(np.float32)
    leaves = leaves_of(latents_BNC, weight)
    assert leaves_of(latents_BNC + np.float32(1024), weight) == leaves
    assert leaves_of(latents_BNC * np.float32(2.0**-40), weight) == leaves
    assert leaves_of(-latents_BNC, weight) == leaves
    assert leaves_of(latents_BNC[..., ::-1].copy(), weight) == leaves


def test_a_mirrored_image_has_the_mirrored_clusters() -> None:
    """Without ties; rows and columns play the same part, so a transposed one too."""
    grid, latents_NC = 8, normal_latents(np.random.default_rng(11), 64, 6)
    position_NN = np.arange(64).reshape(grid, grid)
    plain_N = np.array(leaves_of(latents_NC[None], 0.7)[0])
    for turned_NN in (position_NN[::-1], position_NN[:, ::-1], position_NN.T):
        turned_N = turned_NN.reshape(-1)
        found_N = np.array(leaves_of(latents_NC[turned_N][None], 0.7)[0])
        for stage in range(7):
            assert _clusters(found_N, stage, turned_N) == _clusters(plain_N, stage, np.arange(64))


def _clusters(leaves_N: Indices, stage: int, name_N: Indices) -> set[frozenset[int]]:
    """The clusters of a stage as sets of names of positions."""
    label_N = labels(torch.from_numpy(leaves_N), stage, 6).numpy()
    return {frozenset(name_N[label_N == label].tolist()) for label in range(2**stage)}


@pytest.mark.parametrize("weight", [-0.1, float("nan"), float("inf")])
def test_a_weight_that_means_nothing_is_refused(weight: float) -> None:
    """The error names the option and its value."""
    with pytest.raises(ValueError, match=f"space_weight .* {weight}"):
        build_leaves(torch.zeros(1, 4, 1), "greedy+space", space_weight=weight)


def test_what_float64_cannot_hold_is_refused() -> None:
    """Latents and weight each within its range, but not their product; and NaN as ever."""
    latents_BNC = torch.tensor([[[-1e300], [1e300], [0.0], [0.0]]], dtype=torch.float64)
    with pytest.raises(LatentsError, match="float64"):
        with_positions(latents_BNC, 1e12)
    with pytest.raises(ValueError, match="NaN or Inf"):
        build_leaves(torch.full((1, 4, 1), torch.nan), "greedy+space", space_weight=1.0)
