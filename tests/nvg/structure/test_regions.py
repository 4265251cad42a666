"""The quadtree, and balanced hierarchies from label maps."""

from itertools import product

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from nvg.geometry import canonical, labels
from nvg.structure import build_leaves, grid_labels
from nvg.structure.regions import _largest_sum
from tests.nvg.structure import reference, reference_builders

# B image, N position, C latent channel, D map row or column
SEED = st.integers(0, 2**32 - 1)
light = settings(deadline=None, max_examples=60)


def quadtree(grid: int) -> list[int]:
    """The leaves of a square grid, by comparing halves of rows and columns in turn."""
    leaves = []
    for y, x in product(range(grid), range(grid)):
        leaf, half = 0, grid // 2
        while half:
            leaf = 4 * leaf + 2 * (y // half % 2) + x // half % 2
            half //= 2
        leaves.append(leaf)
    return leaves


@pytest.mark.parametrize("grid", [2, 4, 8, 16])
def test_the_quadtree_of_a_square(grid: int) -> None:
    """Top from bottom, then left from right, and so on; the same for all images, canonical."""
    latents_BNC = torch.randn(2, grid * grid, 3, generator=torch.Generator().manual_seed(0))
    leaves_BN = build_leaves(latents_BNC, "spatial")
    assert leaves_BN.tolist() == [quadtree(grid)] * 2
    assert torch.equal(canonical(leaves_BN.long()), leaves_BN.long())


def test_the_quadtree_of_an_oblong() -> None:
    """Eight positions are two rows of four: the longer side is halved first."""
    leaves = build_leaves(torch.zeros(1, 8, 1), "spatial")[0].tolist()
    assert leaves == [0, 1, 4, 5, 2, 3, 6, 7]


def random_case(rng: np.random.Generator, size: int) -> tuple[torch.Tensor, torch.Tensor]:
    """One image's latents [1, N, 3] and its regions [1, N]: up to ten, of any size and label."""
    regions = int(rng.integers(1, 11))
    shares = rng.dirichlet(np.full(regions, 0.7))
    label_N = rng.permutation(rng.choice(rng.integers(-99, 99, regions), size, p=shares))
    latents_NC = rng.normal(size=(size, 3)).astype(np.float32)
    return torch.from_numpy(latents_NC)[None], torch.from_numpy(label_N)[None]


@light
@given(seed=SEED, size=st.sampled_from([2, 4, 8, 16, 32]))
def test_segments_equal_the_reference(seed: int, size: int) -> None:
    """Equals the documented rule: whole regions, the cut region, greedy inside regions."""
    latents_BNC, label_BN = random_case(np.random.default_rng(seed), size)
    got = build_leaves(latents_BNC, "segments", segments=label_BN)[0].tolist()
    expected = reference_builders.segment_leaves(latents_BNC[0].numpy(), label_BN[0].tolist())
    assert got == expected


@light
@given(seed=SEED, size=st.sampled_from([16, 64, 256]))
def test_few_clusters_are_mixed(seed: int, size: int) -> None:
    """With R regions at most R - 1 clusters per stage are mixed."""
    latents_BNC, label_BN = random_case(np.random.default_rng(seed), size)
    leaves_BN = build_leaves(latents_BNC, "segments", segments=label_BN)
    assert sorted(leaves_BN[0].tolist()) == list(range(size))
    assert torch.equal(canonical(leaves_BN.long()), leaves_BN.long())
    K, regions = reference.log2(size), len(label_BN.unique())
    for stage in range(K + 1):
        cluster_N = labels(leaves_BN, stage, K)[0]
        mixed = sum(len(label_BN[0][cluster_N == n].unique()) > 1 for n in range(2**stage))
        assert mixed <= regions - 1


def test_regions_that_make_up_half_are_not_cut() -> None:
    """Of 9, 4, 2 and 1 positions no set makes 8; of 6, 5, 3 and 2 the first and the last do."""
    latents_BNC = torch.randn(1, 16, 2, generator=torch.Generator().manual_seed(1))
    for sizes, whole in (([9, 4, 2, 1], False), ([6, 5, 3, 2], True)):
        label_N = torch.repeat_interleave(torch.arange(4), torch.tensor(sizes))
        leaves_N = build_leaves(latents_BNC, "segments", segments=label_N[None])[0]
        halves = [len((leaves_N[label_N == n] >> 3).unique()) for n in range(4)]
        assert (halves == [1, 1, 1, 1]) == whole
        assert sum(halves) <= 5


def test_one_region_is_built_greedily() -> None:
    """One region: the leaves are greedy's."""
    latents_BNC = torch.randn(4, 64, 3, generator=torch.Generator().manual_seed(2))
    label_BN = torch.zeros(4, 64, dtype=torch.int64)
    got = build_leaves(latents_BNC, "segments", segments=label_BN)
    assert torch.equal(got, build_leaves(latents_BNC))


def test_a_batch_equals_its_images() -> None:
    """Clusters of equal size are built in one batch, with the same leaves."""
    rng = np.random.default_rng(5)
    cases = [random_case(rng, 64) for _ in range(6)]
    latents_BNC, label_BN = (torch.cat(part) for part in zip(*cases, strict=True))
    together = build_leaves(latents_BNC, "segments", segments=label_BN)
    alone = [build_leaves(z, "segments", segments=s)[0].tolist() for z, s in cases]
    assert together.tolist() == alone


@light
@given(sizes=st.lists(st.integers(1, 9), min_size=1, max_size=7), limit=st.integers(0, 30))
def test_the_largest_sum_equals_brute_force(sizes: list[int], limit: int) -> None:
    """Of all sets with the largest sum, the one with the earliest sizes."""
    sizes = sorted(sizes, reverse=True)
    assert _largest_sum(sizes, limit) == reference_builders.largest_sum(sizes, limit)


@light
@given(seed=SEED, grid=st.sampled_from([2, 4]), high=st.integers(1, 4), wide=st.integers(1, 4))
def test_a_cell_takes_its_majority(seed: int, grid: int, high: int, wide: int) -> None:
    """Maps that are multiples of the grid equal a vote per cell; ties go to the lowest."""
    map_DD = np.random.default_rng(seed).integers(-2, 3, (grid * high, grid * wide))
    got = grid_labels(torch.from_numpy(map_DD)[None], 1, grid * grid)
    assert got[0].tolist() == reference_builders.majority(map_DD.tolist(), grid)


@pytest.mark.parametrize("shape", [(1, 1), (2, 3), (7, 5), (9, 100)])
def test_maps_of_any_size_fit(shape: tuple[int, int]) -> None:
    """Small maps are enlarged, odd ones sampled; a border in the middle stays there."""
    constant = grid_labels(torch.full((2, *shape), 7), 2, 16)
    assert constant.tolist() == [[7] * 16] * 2
    map_BDD = torch.zeros((1, *shape), dtype=torch.int16)
    map_BDD[:, :, (shape[1] + 1) // 2 :] = 1
    got_DD = grid_labels(map_BDD, 1, 16).view(4, 4)
    assert bool((got_DD[:, 0] == 0).all())
    assert bool((got_DD[:, 3] == (1 if shape[1] > 1 else 0)).all())


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int16, torch.int32, torch.bool])
def test_labels_of_any_integer_type(dtype: torch.dtype) -> None:
    """What counts are the values; labels on the grid pass through."""
    label_BN = torch.tensor([[0, 1, 1, 0]], dtype=dtype)
    assert grid_labels(label_BN, 1, 4).tolist() == [[0, 1, 1, 0]]
    assert grid_labels(label_BN.view(1, 2, 2), 1, 4).tolist() == [[0, 1, 1, 0]]


@pytest.mark.parametrize(
    "segments",
    [
        torch.zeros(2, 4, 4),
        torch.zeros(1, 4, 4, dtype=torch.int64),
        torch.zeros(2, 15, dtype=torch.int64),
        torch.zeros(2, 0, 4, dtype=torch.int64),
        torch.zeros(2, 1, 4, 4, dtype=torch.int64),
    ],
)
def test_maps_that_do_not_fit_are_refused(segments: torch.Tensor) -> None:
    """Floats, another batch, another rank, nothing at all: the error has the shape."""
    with pytest.raises(ValueError, match=", ".join(map(str, segments.shape))):
        build_leaves(torch.zeros(2, 16, 1), "segments", segments=segments)


def test_a_map_needs_a_square_grid() -> None:
    """Eight positions have no square grid; labels per position are taken all the same."""
    with pytest.raises(ValueError, match="1, 4, 4"):
        grid_labels(torch.zeros(1, 4, 4, dtype=torch.int64), 1, 8)
    assert grid_labels(torch.zeros(1, 8, dtype=torch.int64), 1, 8).shape == (1, 8)


@pytest.mark.parametrize("builder", ["spatial", "segments"])
def test_not_finite_latents_are_refused(builder: str) -> None:
    """Also where the latents hardly matter: such a store would be worthless."""
    latents_BNC = torch.zeros(3, 16, 2)
    latents_BNC[1, 3, 1] = torch.nan
    options = {"segments": torch.zeros(3, 16).long()} if builder == "segments" else {}
    with pytest.raises(ValueError, match="3, 16, 2"):
        build_leaves(latents_BNC, builder, **options)
