"""The order of rows: permutations keyed by (seed, epoch), and the rows of a training step."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nvg.seeding import permutation, step_rows, step_seed, view_choice

light = settings(deadline=None, max_examples=60)
COUNT = st.integers(1, 200)
SEED = st.integers(0, 2**63 - 1)
EPOCH = st.integers(0, 10_000)


@light
@given(count=COUNT, seed=SEED, epoch=EPOCH)
def test_every_row_comes_once(count: int, seed: int, epoch: int) -> None:
    """A permutation holds 0..count-1, each once, as int64."""
    order = permutation(count, seed, epoch)
    assert order.dtype == np.int64
    assert sorted(order.tolist()) == list(range(count))


@light
@given(count=COUNT, seed=SEED, epoch=EPOCH)
def test_an_epoch_does_not_depend_on_the_ones_before(count: int, seed: int, epoch: int) -> None:
    """Jumping to an epoch gives the order that walking there gives."""
    expected = permutation(count, seed, epoch).tolist()
    for other in range(3):
        permutation(count, seed, other)
    assert permutation(count, seed, epoch).tolist() == expected


@pytest.mark.parametrize(("seed", "epoch"), [(0, 1), (1, 0), (1, 1), (2**62, 0)])
def test_seed_and_epoch_change_the_order(seed: int, epoch: int) -> None:
    """Another seed or epoch is another order."""
    assert permutation(1000, seed, epoch).tolist() != permutation(1000, 0, 0).tolist()


def test_the_order_is_no_shifted_copy_of_the_next_epoch() -> None:
    """Few rows keep their place from one epoch to the next: about one in a thousand."""
    same = permutation(10_000, 5, 0) == permutation(10_000, 5, 1)
    assert int(same.sum()) < 15


@pytest.mark.parametrize(
    ("seed", "epoch", "expected"),
    [
        (0, 0, [0, 7, 6, 1, 9, 3, 8, 10, 5, 2, 4, 11]),
        (7, 3, [4, 0, 7, 9, 11, 6, 3, 5, 1, 2, 10, 8]),
    ],
)
def test_the_order_is_fixed_for_good(seed: int, epoch: int, expected: list[int]) -> None:
    """Whoever changes these numbers (Philox, key (seed, 2 epoch)) breaks all runs to resume."""
    assert permutation(12, seed, epoch).tolist() == expected


def test_a_handed_out_order_cannot_be_changed() -> None:
    """The arrays are shared between callers, hence read-only."""
    with pytest.raises(ValueError, match="read-only"):
        permutation(5, 0, 0)[0] = 1
    with pytest.raises(ValueError, match="read-only"):
        view_choice(5, 2, 0, 0)[0] = 1


@light
@given(count=COUNT, views=st.integers(1, 3), seed=SEED, epoch=EPOCH)
def test_a_view_is_drawn_for_every_row(count: int, views: int, seed: int, epoch: int) -> None:
    """One of the stored views for each row, the same on every call."""
    choice = view_choice(count, views, seed, epoch)
    assert choice.shape == (count,)
    assert set(choice.tolist()) <= set(range(views))
    assert choice.tolist() == view_choice(count, views, seed, epoch).tolist()


def test_views_are_drawn_evenly_and_anew() -> None:
    """Both of two views take about half of 10,000 rows, and another epoch draws others."""
    first, second = view_choice(10_000, 2, 3, 0), view_choice(10_000, 2, 3, 1)
    assert 4700 < int(first.sum()) < 5300
    assert 4700 < int((first == second).sum()) < 5300


@light
@given(
    batch=st.integers(1, 10),
    batches=st.integers(1, 6),
    rest=st.integers(0, 9),
    seed=st.integers(0, 99),
)
def test_steps_take_whole_batches_without_repeats(
    batch: int, batches: int, rest: int, seed: int
) -> None:
    """An epoch of steps has as many full batches as fit, and shows no row twice."""
    count = batch * batches + rest % batch
    for epoch in range(3):
        steps = range(epoch * batches, (epoch + 1) * batches)
        rows = [step_rows(count, batch, seed, step).tolist() for step in steps]
        assert [len(part) for part in rows] == [batch] * batches
        assert len({row for part in rows for row in part}) == batch * batches


def test_a_step_does_not_depend_on_the_steps_before() -> None:
    """Step 17 is the same rows whether or not 0..16 were asked for."""
    direct = step_rows(20, 6, 1, 17).tolist()
    for step in range(17):
        step_rows(20, 6, 1, step)
    assert step_rows(20, 6, 1, 17).tolist() == direct


def test_fewer_rows_than_a_batch_make_a_smaller_batch() -> None:
    """Each step then shows every row once."""
    assert sorted(step_rows(3, 8, 0, 5).tolist()) == [0, 1, 2]


def test_step_seeds_are_63_bits_and_distinct() -> None:
    """No two steps of any of these seeds share their random numbers; -1 is the initialization."""
    seeds = [step_seed(seed, step) for seed in range(30) for step in range(-1, 300)]
    assert len(set(seeds)) == len(seeds)
    assert all(0 <= seed < 2**63 for seed in seeds)
