"""Geometry, labels, leaf order and canonical child order against the slow reference."""

import dataclasses

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from nvg.geometry import Geometry, canonical, labels, leaf_order
from tests.nvg.structure import reference

# B image, N position
SEED = st.integers(0, 2**32 - 1)
LAST_STAGE = st.integers(1, 10)
light = settings(deadline=None, max_examples=60)


def random_leaves(seed: int, last_stage: int) -> list[int]:
    """Any balanced leaves: a permutation of the positions."""
    return [int(leaf) for leaf in np.random.default_rng(seed).permutation(2**last_stage)]


def swap_children(leaves_N: list[int], seed: int, last_stage: int) -> list[int]:
    """The same tree with the halves of random inner nodes exchanged."""
    flip = np.random.default_rng(seed).integers(0, 2, size=(last_stage, len(leaves_N)))
    swapped = []
    for leaf in leaves_N:
        bits = 0
        for depth in range(last_stage):
            node = leaf >> (last_stage - depth)
            bit = (leaf >> (last_stage - 1 - depth)) & 1
            bits = 2 * bits + (bit ^ int(flip[depth, node]))
        swapped.append(bits)
    return swapped


@pytest.mark.parametrize(("grid", "last_stage"), [(2, 2), (4, 4), (8, 6), (16, 8), (32, 10)])
def test_counts_follow_the_grid(grid: int, last_stage: int) -> None:
    """L = grid^2, K = log2 L, K + 1 stages, 2^i clusters at stage i, 2L - 1 tokens in all."""
    geometry = Geometry(grid)
    assert geometry.grid == grid
    assert geometry.positions == grid * grid == 2**last_stage
    assert last_stage == geometry.K
    assert geometry.stages == last_stage + 1
    assert [geometry.clusters(i) for i in range(last_stage + 1)] == [
        2**i for i in range(last_stage + 1)
    ]
    assert geometry.tokens == 2 * grid * grid - 1


@pytest.mark.parametrize("grid", [2, 4, 8, 16, 32])
def test_stage_slices_tile_the_content_in_order(grid: int) -> None:
    """The stage slices cut the content into consecutive runs of 1, 2, 4, .. tokens."""
    geometry = Geometry(grid)
    tokens = list(range(geometry.tokens))
    runs = [tokens[geometry.stage_slice(i)] for i in range(geometry.stages)]
    assert [token for run in runs for token in run] == tokens
    assert [len(run) for run in runs] == [2**i for i in range(geometry.stages)]


@pytest.mark.parametrize(
    ("grid", "dtype"), [(2, torch.uint8), (16, torch.uint8), (32, torch.uint16)]
)
def test_leaf_dtype_is_the_smallest_that_holds_a_leaf(grid: int, dtype: torch.dtype) -> None:
    """One byte holds a leaf up to K = 8, two bytes after that."""
    assert Geometry(grid).leaf_dtype is dtype


@pytest.mark.parametrize("grid", [-4, -1, 0, 1, 3, 6, 12, 24, 257])
def test_grid_must_be_a_power_of_two_from_two(grid: int) -> None:
    """A grid that is not 2, 4, 8, .. is refused with the number in the message."""
    with pytest.raises(ValueError, match=str(grid)):
        Geometry(grid)


def test_geometry_is_a_frozen_value() -> None:
    """Two geometries of one grid are equal and hashable, and none can be changed."""
    geometry = Geometry(8)
    assert geometry == Geometry(8)
    assert hash(geometry) == hash(Geometry(8))
    assert geometry != Geometry(16)
    with pytest.raises(dataclasses.FrozenInstanceError):
        geometry.grid = 16  # type: ignore[misc]


@light
@given(seed=SEED, last_stage=LAST_STAGE, data=st.data())
def test_labels_are_the_leading_bits_of_the_leaf(
    seed: int, last_stage: int, data: st.DataObject
) -> None:
    """labels_i = leaf >> (K - i), at every stage."""
    stage = data.draw(st.integers(0, last_stage))
    leaves = random_leaves(seed, last_stage)
    expected = [reference.label(leaf, stage, last_stage) for leaf in leaves]
    assert labels(np.array(leaves), stage, last_stage).tolist() == expected


@light
@given(seed=SEED, last_stage=LAST_STAGE)
def test_every_stage_has_equal_clusters(seed: int, last_stage: int) -> None:
    """Every stage-i cluster holds exactly L / 2^i positions."""
    leaves_N = torch.tensor(random_leaves(seed, last_stage))
    for stage in range(last_stage + 1):
        counts = torch.bincount(labels(leaves_N, stage, last_stage), minlength=2**stage)
        assert counts.tolist() == [2 ** (last_stage - stage)] * 2**stage


@light
@given(seed=SEED, last_stage=LAST_STAGE)
def test_canonical_is_the_reference_order(seed: int, last_stage: int) -> None:
    """Of two children the one that holds the smallest position comes first, at every node."""
    leaves = random_leaves(seed, last_stage)
    assert canonical(torch.tensor(leaves)).tolist() == reference.canonical(leaves)


@light
@given(seed=SEED, last_stage=LAST_STAGE)
def test_canonical_is_idempotent(seed: int, last_stage: int) -> None:
    """Canonical leaves stay as they are."""
    once = canonical(torch.tensor(random_leaves(seed, last_stage)))
    assert torch.equal(canonical(once), once)


@light
@given(seed=SEED, last_stage=LAST_STAGE)
def test_canonical_forgets_the_child_order(seed: int, last_stage: int) -> None:
    """However the halves are named, the same nested partition gets the same leaves."""
    leaves = random_leaves(seed, last_stage)
    other = swap_children(leaves, seed + 1, last_stage)
    assert sorted(other) == list(range(2**last_stage))
    assert torch.equal(canonical(torch.tensor(leaves)), canonical(torch.tensor(other)))


@light
@given(seed=SEED, last_stage=LAST_STAGE)
def test_canonical_keeps_the_partition(seed: int, last_stage: int) -> None:
    """Two positions share a cluster of a stage afterwards exactly if they did before."""
    before = torch.tensor(random_leaves(seed, last_stage))
    after = canonical(before).to(torch.int64)
    assert sorted(after.tolist()) == list(range(2**last_stage))
    for stage in range(last_stage + 1):
        old, new = labels(before, stage, last_stage), labels(after, stage, last_stage)
        assert len(set(zip(old.tolist(), new.tolist(), strict=True))) == 2**stage


@light
@given(seed=SEED, last_stage=LAST_STAGE)
def test_canonical_puts_position_zero_first(seed: int, last_stage: int) -> None:
    """Position 0 lies on the 0 side of every split."""
    assert int(canonical(torch.tensor(random_leaves(seed, last_stage)))[0]) == 0


@pytest.mark.parametrize(("dtype", "last_stage"), [(torch.uint8, 8), (torch.uint16, 10)])
def test_canonical_takes_stored_leaves_in_batches(dtype: torch.dtype, last_stage: int) -> None:
    """Leaves as stored (uint8, uint16), of any leading shape, come back row by row the same."""
    rows = [random_leaves(seed, last_stage) for seed in range(6)]
    leaves_BVN = torch.tensor(rows).to(dtype).reshape(3, 2, 2**last_stage)
    got = canonical(leaves_BVN)
    assert got.shape == leaves_BVN.shape
    assert got.flatten(0, 1).tolist() == [reference.canonical(row) for row in rows]


@light
@given(seed=SEED, last_stage=LAST_STAGE)
def test_leaf_order_is_the_inverse_permutation(seed: int, last_stage: int) -> None:
    """leaf_order lists the positions from leaf 0 to leaf L - 1."""
    leaves = random_leaves(seed, last_stage)
    order = leaf_order(torch.tensor(leaves))
    assert order.dtype == torch.int64
    assert order.tolist() == reference.invert(leaves)


@pytest.mark.parametrize(("dtype", "last_stage"), [(torch.uint8, 8), (torch.uint16, 10)])
def test_leaf_order_gathers_clusters_into_runs(dtype: torch.dtype, last_stage: int) -> None:
    """In leaf order each cluster of each stage is one run, which is what Avg relies on."""
    rows = [random_leaves(seed, last_stage) for seed in range(4)]
    leaves_BN = torch.tensor(rows).to(dtype)
    order_BN = leaf_order(leaves_BN)
    assert order_BN.shape == leaves_BN.shape
    for stage in range(last_stage + 1):
        run_BN = labels(leaves_BN, stage, last_stage).gather(1, order_BN)
        run_N = torch.arange(2**stage).repeat_interleave(2 ** (last_stage - stage))
        assert torch.equal(run_BN, run_N.expand(4, -1))
