"""The rules of given structure one by one: rectangles, uncut halves, greedy inside, map sizes."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from nvg.geometry import canonical, labels
from nvg.structure import build_leaves, grid_labels
from tests.nvg.structure import reference
from tests.nvg.structure.cases import SAMPLED
from tests.nvg.structure.kinds import KINDS, Kind, Latents
from tests.nvg.structure.reference_builders import largest_sum, segment_leaves

# B image, N position, C latent channel, D map row or column
SEED = st.integers(0, 2**32 - 1)
light = settings(deadline=None, max_examples=80)


def leaves_of(latents_NC: Latents, label_N: list[int]) -> list[int]:
    """The leaves of one image as Python integers."""
    maps = torch.tensor([label_N])
    leaves_BN = build_leaves(torch.from_numpy(latents_NC)[None], "segments", segments=maps)
    leaves: list[int] = leaves_BN[0].tolist()
    return leaves


def random_labels(rng: np.random.Generator, size: int) -> list[int]:
    """2..10 regions of any size under distinct names, in runs along the rows or scattered."""
    regions = int(rng.integers(2, 11))
    names = rng.choice(np.arange(-(2**40), 2**40, 2**33), regions, replace=False)
    label_N = rng.choice(names, size, p=rng.dirichlet(np.full(regions, 0.7)))
    return [int(label) for label in (np.sort(label_N) if rng.integers(2) else label_N)]


@pytest.mark.parametrize("positions", [2, 4, 8, 16, 32, 64, 128, 256, 512])
def test_spatial_clusters_are_equal_rectangles(positions: int) -> None:
    """At every stage each cluster fills its bounding box, whose sides differ at most by two."""
    K = reference.log2(positions)
    wide = positions >> K // 2
    leaves_BN = build_leaves(torch.randn(2, positions, 1), "spatial")
    assert leaves_BN[0].tolist() == leaves_BN[1].tolist()
    assert canonical(leaves_BN).tolist() == leaves_BN.tolist()
    for stage in range(K + 1):
        label_N = labels(leaves_BN, stage, K)[0].tolist()
        for cluster in range(2**stage):
            places = [divmod(p, wide) for p in range(positions) if label_N[p] == cluster]
            y, x = ({place[side] for place in places} for side in (0, 1))
            assert len(places) == positions >> stage
            assert len(places) == (max(y) - min(y) + 1) * (max(x) - min(x) + 1)
            assert max(len(y), len(x)) <= 2 * min(len(y), len(x))


def test_spatial_halves_top_from_bottom_first() -> None:
    """The golden 4x4 and 2x4 grids."""
    square = [[0, 1, 4, 5], [2, 3, 6, 7], [8, 9, 12, 13], [10, 11, 14, 15]]
    oblong = [[0, 1, 4, 5], [2, 3, 6, 7]]
    assert build_leaves(torch.zeros(1, 16, 1), "spatial")[0].view(4, 4).tolist() == square
    assert build_leaves(torch.zeros(1, 8, 1), "spatial")[0].view(2, 4).tolist() == oblong


@pytest.mark.thorough
@pytest.mark.parametrize("kind", SAMPLED)
@light
@given(seed=SEED, size=st.sampled_from([2, 4, 8, 16, 32]), channels=st.integers(1, 9))
def test_segments_equal_the_reference(kind: Kind, seed: int, size: int, channels: int) -> None:
    """Also where latents repeat or tie, so that the position decides who goes along."""
    rng = np.random.default_rng(seed)
    latents_NC, label_N = kind(rng, size, channels), random_labels(rng, size)
    assert leaves_of(latents_NC, label_N) == segment_leaves(latents_NC, label_N)


@pytest.mark.parametrize("size", [64, 256])
def test_larger_grids_equal_the_reference(size: int) -> None:
    """The same at 64 positions and at the paper's 256."""
    rng = np.random.default_rng(size)
    for kind in KINDS[:4]:
        latents_NC, label_N = kind(rng, size, 3), random_labels(rng, size)
        assert leaves_of(latents_NC, label_N) == segment_leaves(latents_NC, label_N)


@light
@given(seed=SEED, size=st.sampled_from([4, 16, 64, 256]))
def test_stage_1_cuts_no_region_when_some_make_up_half(seed: int, size: int) -> None:
    """No region lies on both sides if any set of them has half the positions, else just one."""
    rng = np.random.default_rng(seed)
    label_N = random_labels(rng, size)
    counts = sorted((label_N.count(name) for name in set(label_N)), reverse=True)
    best = sum(counts[n] for n in largest_sum(counts, size // 2))
    leaves = leaves_of(rng.normal(size=(size, 2)), label_N)
    sides = [{leaf >= size // 2 for leaf in region_of(label_N, leaves, n)} for n in set(label_N)]
    assert sum(len(side) == 2 for side in sides) == (best < size // 2)


def region_of(label_N: list[int], values: list[int], name: int) -> list[int]:
    """The values at the positions of one region."""
    return [value for value, label in zip(values, label_N, strict=True) if label == name]


@light
@given(seed=SEED, size=st.sampled_from([16, 64]), kind=st.sampled_from(KINDS))
def test_a_pure_cluster_is_built_greedily(seed: int, size: int, kind: Kind) -> None:
    """Below the first stage at which a cluster has one region, it is what greedy makes of it."""
    rng = np.random.default_rng(seed)
    latents_NC, label_N = kind(rng, size, 3), random_labels(rng, size)
    leaves = leaves_of(latents_NC, label_N)
    K = reference.log2(size)
    for stage in range(K):
        for cluster in range(2**stage):
            part = [p for p in range(size) if leaves[p] >> (K - stage) == cluster]
            above = [p for p in range(size) if leaves[p] >> (K - stage + 1) == cluster >> 1]
            if len({label_N[p] for p in part}) == 1 < len({label_N[p] for p in above}):
                inner = [leaves[p] - (cluster << (K - stage)) for p in part]
                assert inner == reference.greedy_leaves(latents_NC[part])


@light
@given(seed=SEED, size=st.sampled_from([4, 16, 64]))
def test_the_names_of_regions_do_not_matter(seed: int, size: int) -> None:
    """Only which positions share a label counts, not which integer it is."""
    rng = np.random.default_rng(seed)
    latents_NC, label_N = rng.normal(size=(size, 3)), random_labels(rng, size)
    other = dict(zip(sorted(set(label_N)), rng.permutation(99).tolist(), strict=False))
    assert leaves_of(latents_NC, label_N) == leaves_of(latents_NC, [other[n] for n in label_N])


def test_the_nearer_positions_of_a_cut_region_go_along() -> None:
    """The region of six is cut; the two of it that lie nearest to the region of two join that."""
    latents_NC = np.array([[0.0], [9], [8], [0], [9], [1], [8], [0]])
    leaves = leaves_of(latents_NC, [5, 2, 2, 2, 2, 2, 2, 5])
    assert [p for p in range(8) if leaves[p] < 4] == [0, 3, 5, 7]


@light
@given(seed=SEED, grid=st.sampled_from([2, 4, 8]))
def test_a_map_of_the_grids_size_is_itself(seed: int, grid: int) -> None:
    """[B, D, D] at the grid's size and [B, N] are the same labels, untouched."""
    label_BN = torch.from_numpy(
        np.random.default_rng(seed).integers(-(2**62), 2**62, (3, grid * grid))
    )
    assert torch.equal(grid_labels(label_BN, 3, grid * grid), label_BN)
    assert torch.equal(grid_labels(label_BN.view(3, grid, grid), 3, grid * grid), label_BN)


def test_smaller_maps_are_enlarged() -> None:
    """Each pixel of a 2x1 map covers half of the grid, of a 1x1 map all of it."""
    assert grid_labels(torch.tensor([[[3], [4]]]), 1, 16).tolist() == [[3] * 8 + [4] * 8]
    assert grid_labels(torch.tensor([[[-1]]]), 1, 16).tolist() == [[-1] * 16]


@light
@given(seed=SEED, high=st.integers(1, 40), wide=st.integers(1, 40), grid=st.sampled_from([2, 4, 8]))
def test_maps_of_odd_sizes_keep_their_labels(seed: int, high: int, wide: int, grid: int) -> None:
    """Every cell takes a label of the map from its own rows and columns, or one pixel beside."""
    map_DD = np.random.default_rng(seed).integers(0, 4, (high, wide))
    got_DD = grid_labels(torch.from_numpy(map_DD)[None], 1, grid * grid).view(grid, grid).tolist()
    for y in range(grid):
        for x in range(grid):
            rows = slice(y * high // grid, -(-(y + 1) * high // grid))
            columns = slice(x * wide // grid, -(-(x + 1) * wide // grid))
            assert got_DD[y][x] in map_DD[rows, columns]


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int16, torch.uint16, torch.bool])
def test_every_integer_type_gives_the_same_leaves(dtype: torch.dtype) -> None:
    """A map decides by its values, in whatever type it was stored."""
    rng = np.random.default_rng(9)
    latents_BNC = torch.from_numpy(rng.normal(size=(2, 16, 3)))
    maps = torch.from_numpy(rng.integers(0, 2, (2, 8, 8)))

    def built(given_maps: Tensor) -> list[list[int]]:
        leaves: list[list[int]] = build_leaves(
            latents_BNC, "segments", segments=given_maps
        ).tolist()
        return leaves

    assert built(maps.to(dtype)) == built(maps)
