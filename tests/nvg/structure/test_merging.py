"""The shared parts of merging builders: exact keys, pairs from partners, merging to the root."""

from collections.abc import Sequence

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from nvg.structure.merging import merge_pairs, pair_keys, pairs_of, rows
from tests.nvg.structure import reference
from tests.nvg.structure.reference_builders import distance, merged_leaves

# B image, N position, n cluster of the level, C latent channel
SIZE = st.integers(1, 6).map(lambda exponent: 2**exponent)
SEED = st.integers(0, 2**32 - 1)
light = settings(deadline=None, max_examples=80)


def random_partners(rng: np.random.Generator, count: int) -> list[int]:
    """A random pairing as the partner of every cluster."""
    partner = np.empty(count, np.int64)
    for i, j in rng.permutation(count).reshape(-1, 2):
        partner[i], partner[j] = j, i
    return [int(value) for value in partner]


@light
@given(seed=SEED, size=SIZE, stage=st.integers(0, 11), channels=st.integers(1, 40))
def test_pair_keys_are_exact(seed: int, size: int, stage: int, channels: int) -> None:
    """d2 * n + (i xor j) to the last bit, with coordinates as large as a lattice sum can be."""
    positions = size << stage
    reach = ((1 << reference.lattice_bits(positions, channels)) - 1) << stage
    rng = np.random.default_rng(seed)
    point_BnC = rng.integers(-reach, reach + 1, size=(2, size, channels))
    point_BnC[1] = rng.choice([-reach, reach], size=(size, channels))  # the largest keys there are
    key_Bnn = pair_keys(torch.from_numpy(point_BnC).double()).tolist()
    for b, point_nC in enumerate(point_BnC.tolist()):
        for i in range(size):
            expected = [distance(point_nC[i], point) * size for point in point_nC]
            expected = [key + (i ^ j) for j, key in enumerate(expected)]
            assert max(expected) < 2**53
            assert key_Bnn[b][i][i] == np.inf
            assert key_Bnn[b][i][:i] + key_Bnn[b][i][i + 1 :] == expected[:i] + expected[i + 1 :]


@light
@given(seed=SEED, size=SIZE)
def test_pairs_of_lists_every_pair_once(seed: int, size: int) -> None:
    """Left clusters ascend and each is less than its right one, image by image."""
    rng = np.random.default_rng(seed)
    partner_Bn = [random_partners(rng, size) for _ in range(3)]
    left_Bn, right_Bn = pairs_of(torch.tensor(partner_Bn))
    for partner_n, left_n, right_n in zip(
        partner_Bn, left_Bn.tolist(), right_Bn.tolist(), strict=True
    ):
        expected = [(i, j) for i, j in enumerate(partner_n) if i < j]
        assert list(zip(left_n, right_n, strict=True)) == expected


def test_rows_takes_from_each_image_its_own() -> None:
    """Row m of image b is the row of image b at the index."""
    values_BnC = torch.arange(2 * 3 * 2).reshape(2, 3, 2)
    taken_BmC = rows(values_BnC, torch.tensor([[2, 0], [1, 1]]))
    assert taken_BmC.tolist() == [[[4, 5], [0, 1]], [[8, 9], [8, 9]]]


@light
@given(seed=SEED, size=SIZE)
def test_leaves_follow_the_pairs(seed: int, size: int) -> None:
    """For any pairing, leaves follow its tree, a merge is a sum, and lefts come first."""
    rng = np.random.default_rng(seed)
    point_BNC = rng.integers(-9, 10, size=(2, size, 3))
    partners: dict[int, list[list[int]]] = {}
    seen: dict[int, Tensor] = {}

    def pairing(point_BnC: Tensor) -> tuple[Tensor, Tensor]:
        count = point_BnC.shape[1]
        seen[count] = point_BnC
        partners[count] = [random_partners(rng, count) for _ in range(2)]
        return pairs_of(torch.tensor(partners[count]))

    leaves_BN = merge_pairs(torch.from_numpy(point_BNC).double(), pairing)
    for b in range(2):

        def pairs(points: Sequence[Sequence[int]], b: int = b) -> list[tuple[int, int]]:
            assert seen[len(points)][b].tolist() == [*points]
            return [(i, j) for i, j in enumerate(partners[len(points)][b]) if i < j]

        expected = merged_leaves(point_BNC[b].tolist(), pairs)
        assert leaves_BN[b].tolist() == expected == reference.canonical(expected)


@pytest.mark.parametrize(("size", "dtype"), [(2, torch.uint8), (512, torch.uint16)])
def test_leaves_have_the_stored_dtype(size: int, dtype: torch.dtype) -> None:
    """One byte up to 256 positions, beyond that two."""

    def pairing(point_BnC: Tensor) -> tuple[Tensor, Tensor]:
        index_Bn = torch.arange(point_BnC.shape[1]).expand(point_BnC.shape[:2])
        return index_Bn[:, ::2], index_Bn[:, 1::2]

    leaves_BN = merge_pairs(torch.zeros(3, size, 1, dtype=torch.float64), pairing)
    assert leaves_BN.dtype == dtype
    assert leaves_BN.tolist() == [list(range(size))] * 3
