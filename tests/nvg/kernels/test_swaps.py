"""Greedy with 2-opt swaps: equals its rule in Python integers, never worse than greedy."""

from collections.abc import Iterator
from itertools import combinations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from nvg.geometry import canonical
from nvg.structure import build_leaves
from tests.nvg.structure import reference
from tests.nvg.structure.cases import SAMPLED
from tests.nvg.structure.kinds import (
    KINDS,
    Kind,
    Latents,
    batch_of,
    duplicates,
    equidistant,
    normal_latents,
    tied,
)
from tests.nvg.structure.reference_builders import (
    distances,
    levels,
    matching_cost,
    merged_leaves,
    swapped_pairs,
    swaps_between,
)

# B image, N position, C latent channel
SIZE = st.integers(1, 5).map(lambda exponent: 2**exponent)
CHANNELS = st.integers(1, 40)
SEED = st.integers(0, 2**32 - 1)
light = settings(deadline=None, max_examples=80)
every_kind = pytest.mark.parametrize("kind", SAMPLED)


def leaves_of(latents_NC: Latents, builder: str = "greedy+2opt") -> list[int]:
    """The leaves of one image as Python integers."""
    leaves: list[int] = build_leaves(torch.from_numpy(latents_NC)[None], builder)[0].tolist()
    return leaves


def expected_leaves(latents_NC: Latents) -> list[int]:
    """The leaves by the reference rule."""
    return merged_leaves(reference.lattice(latents_NC), swapped_pairs)


def cost_of_level(latents_NC: Latents, leaves_N: list[int], level: int = 0) -> int:
    """Sum of d2 over the pairs of a level, the leaves' own at 0."""
    points, pairs = list(levels(latents_NC, leaves_N))[level]
    return matching_cost(distances(points), pairs)[0]


@pytest.fixture
def _own_threads() -> Iterator[None]:
    """Restore the number of threads after the test."""
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)


@pytest.mark.parametrize(
    ("values", "leaves"),
    [
        # greedy takes 4-7 and 0-11, 9 + 121; left with left makes it 0-4 and 7-11, 16 + 16
        ([0, 4, 7, 11], [0, 1, 2, 3]),
        # greedy takes 3-2 and 0-5, 1 + 25; left with left 9 + 9, crossed 4 + 4
        ([0, 3, 2, 5], [0, 2, 1, 3]),
        # greedy takes 5-5 and 0-11; both exchanges give 25 + 36: left with left
        ([0, 5, 5, 11], [0, 1, 2, 3]),
        # the same with two pairs of fives, at 1, 4 and at 2, 3: the first
        ([0, 5, 5, 5, 5, 11, 99, 99], [0, 1, 2, 3, 4, 5, 6, 7]),
        # nothing to gain
        ([0, 9, 9, 0], [0, 2, 3, 1]),
        ([5, 0, 0, 0], [0, 1, 2, 3]),
    ],
)
def test_golden_vectors(values: list[int], leaves: list[int]) -> None:
    """Cases done by hand, equal to the reference."""
    latents_NC = np.array(values, dtype=np.float32)[:, None]
    assert leaves_of(latents_NC) == leaves
    assert expected_leaves(latents_NC) == leaves


@every_kind
@light
@given(seed=SEED, size=SIZE, channels=CHANNELS)
def test_leaves_equal_the_reference(kind: Kind, seed: int, size: int, channels: int) -> None:
    """Leaves are identical for ties, repeats, offsets and outliers."""
    latents_NC = kind(np.random.default_rng(seed), size, channels)
    assert leaves_of(latents_NC) == expected_leaves(latents_NC)


@light
@given(
    hnp.arrays(
        np.float32,
        st.tuples(st.integers(1, 4).map(lambda exponent: 2**exponent), st.integers(1, 4)),
        elements=st.floats(-(2.0**100), 2.0**100, width=32),
    )
)
def test_leaves_equal_the_reference_on_any_floats(latents_NC: Latents) -> None:
    """Leaves are identical for signed zeros, subnormals and mixed magnitudes."""
    assert leaves_of(latents_NC) == expected_leaves(latents_NC)


@every_kind
@pytest.mark.parametrize("channels", [1, 3, 40])
def test_leaves_of_64_positions_equal_the_reference(kind: Kind, channels: int) -> None:
    """Levels of several vectors of pairs equal the reference too."""
    latents_NC = batch_of(kind, 11, 1, 64, channels)[0]
    assert leaves_of(latents_NC) == expected_leaves(latents_NC)


@pytest.mark.thorough
@pytest.mark.parametrize("kind", [normal_latents, tied, equidistant])
def test_leaves_of_256_positions_equal_the_reference(kind: Kind) -> None:
    """The paper's grid equals the reference."""
    latents_NC = batch_of(kind, 12, 1, 256, 4)[0]
    assert leaves_of(latents_NC) == expected_leaves(latents_NC)


def far_pair_among_equals(rng: np.random.Generator, size: int, channels: int) -> Latents:
    """A pair at opposite corners, and between them pairs with which it gains exactly as much.

    Their coordinates are the same numbers in different channels, so that float32 sums of squares
    differ where the exact ones do not; half of them are off by a lattice unit.
    """
    bound = 2 ** reference.lattice_bits(size, channels) - 1
    step = rng.integers(-bound // 2, bound // 2, size=channels)
    points = np.stack([rng.permutation(step) for _ in range(size // 2)]).repeat(2, axis=0)
    points[:, 0] += rng.integers(-1, 2, size=size) * rng.integers(0, 2, size=size)
    points[:2] = [[-bound], [bound]]  # so the lattice is the integers themselves
    order = [0, *(1 + rng.permutation(size - 1))]  # the far pair is visited first, so it chooses
    return points[order].astype(np.float64)


@pytest.mark.thorough
@pytest.mark.parametrize("size", [8, 32])
@pytest.mark.parametrize("channels", [2, 7, 32])
def test_gains_that_float32_cannot_tell_apart(size: int, channels: int) -> None:
    """Ties go to the first pair; a gain larger by one lattice unit wins."""
    rng = np.random.default_rng(channels)
    for _ in range(25):
        latents_NC = far_pair_among_equals(rng, size, channels)
        assert leaves_of(latents_NC) == expected_leaves(latents_NC)


@every_kind
def test_the_first_level_is_never_worse_than_greedy(kind: Kind) -> None:
    """Swaps only lower the sum of d2 of the greedy pairs."""
    for size in (4, 16, 64):
        for latents_NC in batch_of(kind, 13, 5, size, 3):
            greedy = cost_of_level(latents_NC, leaves_of(latents_NC, "greedy"))
            assert cost_of_level(latents_NC, leaves_of(latents_NC)) <= greedy


def test_a_random_image_gains_by_swaps() -> None:
    """Greedy's last pairs are distant, so at 64 positions each image gains."""
    for latents_NC in batch_of(normal_latents, 14, 10, 64, 4):
        greedy = cost_of_level(latents_NC, leaves_of(latents_NC, "greedy"))
        assert cost_of_level(latents_NC, leaves_of(latents_NC)) < greedy


@every_kind
@light
@given(seed=SEED, size=SIZE, channels=CHANNELS)
def test_no_swap_is_left(kind: Kind, seed: int, size: int, channels: int) -> None:
    """At every level, no swap of two pairs gains."""
    latents_NC = kind(np.random.default_rng(seed), size, channels)
    for points, pairs in levels(latents_NC, leaves_of(latents_NC)):
        square = distances(points)
        for two in combinations(pairs, 2):
            cost, _ = matching_cost(square, two)
            for exchanged in swaps_between(*two):
                assert matching_cost(square, exchanged)[0] >= cost


@light
@given(seed=SEED, size=SIZE, channels=CHANNELS, kind=st.sampled_from(KINDS))
def test_leaves_are_a_canonical_permutation(
    seed: int, size: int, channels: int, kind: Kind
) -> None:
    """Leaves use each label once, and canonical() changes nothing."""
    latents_NC = kind(np.random.default_rng(seed), size, channels)
    leaves_N = build_leaves(torch.from_numpy(latents_NC)[None], "greedy+2opt")[0]
    assert sorted(leaves_N.tolist()) == list(range(size))
    assert canonical(leaves_N).tolist() == leaves_N.tolist()


@pytest.mark.parametrize("size", [2, 4, 16, 64, 256, 512])
@pytest.mark.parametrize("value", [0.0, -3.25, 1e6])
def test_a_constant_image_pairs_neighbours(size: int, value: float) -> None:
    """For constant latents no swap gains: leaf p at position p, as in greedy."""
    assert leaves_of(np.full((size, 3), value, dtype=np.float32)) == list(range(size))


@pytest.mark.usefixtures("_own_threads")
@pytest.mark.parametrize("kind", [normal_latents, tied, duplicates])
def test_threads_and_batches_do_not_matter(kind: Kind) -> None:
    """The leaves do not depend on the number of threads or on how the batch is split."""
    latents_BNC = torch.from_numpy(batch_of(kind, 15, 23, 32, 5))
    torch.set_num_threads(1)
    leaves = build_leaves(latents_BNC, "greedy+2opt").tolist()
    for threads in (1, 2, 5):
        torch.set_num_threads(threads)
        for step in (23, 7, 1):
            parts = [build_leaves(part, "greedy+2opt") for part in latents_BNC.split(step)]
            assert torch.cat(parts).tolist() == leaves


def test_leaves_keep_no_trace_of_the_image_before() -> None:
    """Leaves do not depend on the other images of a slice."""
    latents_BNC = np.stack([batch_of(kind, 16, 1, 32, 6)[0].astype(np.float64) for kind in KINDS])
    alone = [leaves_of(latents_NC) for latents_NC in latents_BNC]
    for order in (range(len(KINDS)), range(len(KINDS))[::-1]):
        leaves = build_leaves(torch.from_numpy(latents_BNC[list(order)]), "greedy+2opt").tolist()
        assert leaves == [alone[b] for b in order]
