"""Child order by merging, against a reference that numbers the merges and walks the tree."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from nvg.geometry import canonical
from nvg.structure import build_leaves, order_by_merging
from tests.nvg.structure import reference
from tests.nvg.structure.cases import BACKENDS, leaves_of
from tests.nvg.structure.kinds import (
    KINDS,
    Kind,
    Latents,
    batch_of,
    constant,
    ladder,
    normal_latents,
    random_leaves,
    tied,
)

# B image, N position, C latent channel
SIZE = st.integers(1, 4).map(lambda exponent: 2**exponent)
SEED = st.integers(0, 2**32 - 1)
light = settings(deadline=None, max_examples=40)


def ordered(latents_BNC: Latents, leaves: list[list[int]]) -> list[list[int]]:
    """`order_by_merging` of lists."""
    result: list[list[int]] = order_by_merging(
        torch.from_numpy(latents_BNC), torch.tensor(leaves)
    ).tolist()
    return result


def assert_merging_order(latents_BNC: Latents) -> None:
    """Of every backend's leaves the order is that of the merges of the reference.

    So it is of the same hierarchy with all children swapped but those of the pairs.
    """
    expected = [reference.merging_leaves(latents_NC) for latents_NC in latents_BNC]
    for backend in BACKENDS:
        leaves = leaves_of(latents_BNC, backend)
        assert ordered(latents_BNC, leaves) == expected, backend
        swapped = [[leaf ^ len(leaves_N) - 2 for leaf in leaves_N] for leaves_N in leaves]
        assert ordered(latents_BNC, swapped) == expected, backend


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(
    ("values", "by_position", "by_merging"),
    [
        ([0, 10, 1, 12], [0, 2, 1, 3], [0, 2, 1, 3]),
        ([5, 0, 0, 0], [0, 1, 2, 3], [2, 3, 0, 1]),
        ([0, 4, 7, 11], [0, 2, 3, 1], [2, 0, 1, 3]),
        ([3, 9, 3, 9, 3, 0, 9, 3], [0, 4, 1, 5, 2, 6, 7, 3], [0, 4, 1, 5, 2, 6, 7, 3]),
        ([0, 9, 20, 28, 50, 55, 70, 71], [0, 1, 2, 3, 4, 5, 6, 7], [6, 7, 4, 5, 2, 3, 0, 1]),
    ],
)
def test_golden_vectors(
    values: list[int], by_position: list[int], by_merging: list[int], backend: str
) -> None:
    """Both orders of an example done by hand: the builder's, and that of the merges."""
    latents_BNC = np.array(values, dtype=np.float32)[None, :, None]
    assert leaves_of(latents_BNC, backend) == [by_position]
    assert ordered(latents_BNC, [by_position]) == [by_merging]
    assert reference.merging_leaves(latents_BNC[0]) == by_merging
    assert reference.order_of_keys(latents_BNC[0], by_position) == by_merging


@pytest.mark.parametrize("size", [4, 8, 16, 64, pytest.param(256, marks=pytest.mark.thorough)])
@pytest.mark.parametrize("kind", [normal_latents, tied, constant, ladder])
def test_children_stand_in_the_order_of_their_merges(kind: Kind, size: int) -> None:
    """Whichever backend found the leaves, ties and constant regions included."""
    for channels in (1, 3, 32) if size < 64 else (3,):
        assert_merging_order(batch_of(kind, 1, 1 if size > 64 else 2, size, channels))


@light
@given(
    hnp.arrays(
        np.float32,
        st.tuples(st.integers(1, 2), SIZE, st.integers(1, 3)),
        elements=st.integers(-3, 3).map(float),
    )
)
def test_children_stand_in_the_order_of_their_merges_on_any_integers(latents_BNC: Latents) -> None:
    """Small integers, with ties of all sorts."""
    assert_merging_order(latents_BNC)


@light
@given(seed=SEED, size=SIZE, channels=st.integers(1, 8), kind=st.sampled_from(KINDS))
def test_only_the_order_of_children_changes(
    seed: int, size: int, channels: int, kind: Kind
) -> None:
    """A permutation of the same hierarchy in the same dtype; a second time changes nothing."""
    latents_BNC = torch.from_numpy(batch_of(kind, seed, 2, size, channels))
    leaves_BN = build_leaves(latents_BNC)
    merged_BN = order_by_merging(latents_BNC, leaves_BN)
    assert merged_BN.dtype == leaves_BN.dtype
    assert merged_BN.sort(1).values.tolist() == [list(range(size))] * 2
    assert torch.equal(canonical(merged_BN), leaves_BN)
    assert torch.equal(order_by_merging(latents_BNC, merged_BN), merged_BN)
    assert torch.equal(merged_BN % 2, leaves_BN % 2)  # pairs stand in order of position


@light
@given(seed=SEED, size=SIZE, channels=st.integers(1, 4), kind=st.sampled_from(KINDS))
def test_any_hierarchy_is_put_in_the_order_of_its_keys(
    seed: int, size: int, channels: int, kind: Kind
) -> None:
    """Also one that nobody merged, from whichever order of its inner clusters."""
    latents_BNC = batch_of(kind, seed, 1, size, channels)
    # A line is a hierarchy on any size; its pairs are put in order of position.
    order_N = np.random.default_rng(seed).permutation(size).reshape(-1, 2)
    line = reference.invert(np.sort(order_N, axis=1).flatten().tolist())
    expected = reference.order_of_keys(latents_BNC[0], line)
    assert ordered(latents_BNC, [line]) == [expected]
    assert ordered(latents_BNC, [reference.canonical(line)]) == [expected]


@pytest.mark.parametrize("builder", ["greedy+2opt", "optimal", "spatial"])
@pytest.mark.parametrize("kind", [normal_latents, tied])
def test_other_builders_keep_their_hierarchy(kind: Kind, builder: str) -> None:
    """Its keys order what was not merged greedily."""
    latents_BNC = batch_of(kind, 5, 2, 16, 3)
    leaves_BN = build_leaves(torch.from_numpy(latents_BNC), builder)
    merged_BN = order_by_merging(torch.from_numpy(latents_BNC), leaves_BN)
    pairs = zip(latents_BNC, leaves_BN.tolist(), strict=True)
    assert merged_BN.tolist() == [reference.order_of_keys(*pair) for pair in pairs]
    assert torch.equal(canonical(merged_BN), leaves_BN)
    assert not torch.equal(merged_BN, leaves_BN)


@pytest.mark.thorough
def test_1024_positions_need_two_bytes() -> None:
    """uint16 in, uint16 out, for leaves beyond one byte."""
    latents_BNC = batch_of(normal_latents, 2, 1, 1024, 2)
    leaves_BN = build_leaves(torch.from_numpy(latents_BNC))
    merged_BN = order_by_merging(torch.from_numpy(latents_BNC), leaves_BN)
    assert merged_BN.dtype == leaves_BN.dtype == torch.uint16
    expected = reference.order_of_keys(latents_BNC[0], leaves_BN[0].tolist())
    assert merged_BN.tolist() == [expected]
    assert torch.equal(canonical(merged_BN).long(), leaves_BN.long())


def test_a_batch_equals_its_images_one_by_one() -> None:
    """The order does not depend on the other images of the batch."""
    rng = np.random.default_rng(3)
    latents_BNC = np.stack([kind(rng, 64, 4).astype(np.float64) for kind in KINDS])
    leaves = random_leaves(rng, (len(KINDS),), 8).tolist()
    pairs = zip(latents_BNC, leaves, strict=True)
    alone = [ordered(latents_NC[None], [leaves_N])[0] for latents_NC, leaves_N in pairs]
    assert ordered(latents_BNC, leaves) == alone
    assert ordered(latents_BNC[::-1].copy(), leaves[::-1]) == alone[::-1]


def test_autocast_and_gradients_change_nothing() -> None:
    """As in training: the keys stay exact, and the leaves carry no gradient."""
    latents_BNC = torch.from_numpy(batch_of(tied, 4, 2, 64, 4))
    leaves_BN = build_leaves(latents_BNC)
    expected = order_by_merging(latents_BNC, leaves_BN)
    with torch.autocast("cpu", torch.bfloat16):
        merged_BN = order_by_merging(latents_BNC.requires_grad_(), leaves_BN)
    assert torch.equal(merged_BN, expected)
    assert not merged_BN.requires_grad


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_latents_that_are_no_numbers_are_refused(value: float) -> None:
    """As the builder refuses them."""
    latents_BNC = torch.zeros(2, 4, 3)
    latents_BNC[1, 2, 0] = value
    with pytest.raises(ValueError, match="NaN or Inf"):
        order_by_merging(latents_BNC, torch.arange(4, dtype=torch.uint8).expand(2, -1))
