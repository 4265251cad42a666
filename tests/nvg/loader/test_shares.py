"""The draws of a mixture: exact shares of a block, bounds at any draw, one order for all."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nvg.errors import InputError
from nvg.loader.shares import BLOCK, Shares, rounded

WEIGHTS = st.lists(st.floats(0.01, 10), min_size=1, max_size=5)


@settings(deadline=None, max_examples=40)
@given(weights=WEIGHTS, seed=st.integers(0, 2**31), draw=st.integers(0, 3 * BLOCK))
def test_shares_hold_at_every_draw(weights: list[float], seed: int, draw: int) -> None:
    """Within a few of the weight's part, and exactly at the end of a block."""
    shares = Shares(weights, seed)
    before = shares.before(draw)
    assert before.sum() == draw
    exact = shares.counts / BLOCK * draw
    assert np.abs(before - exact).max() <= len(weights) + 1
    assert shares.before(2 * BLOCK).tolist() == (2 * shares.counts).tolist()


@settings(deadline=None, max_examples=25)
@given(
    weights=WEIGHTS,
    seed=st.integers(0, 2**31),
    start=st.integers(0, 2 * BLOCK),
    count=st.integers(0, BLOCK + 9),
)
def test_any_run_of_draws_is_that_of_the_whole(
    weights: list[float], seed: int, start: int, count: int
) -> None:
    """And counting is as counting one by one."""
    shares = Shares(weights, seed)
    whole = shares.sources(0, start + count)
    assert np.array_equal(shares.sources(start, start + count), whole[start:])
    counted = np.bincount(whole[:start], minlength=len(weights))
    assert shares.before(start).tolist() == counted.tolist()


def test_blocks_and_seeds_differ() -> None:
    """No pattern that comes again."""
    one = Shares([0.7, 0.3], 1)
    assert not np.array_equal(one.sources(0, BLOCK), one.sources(BLOCK, 2 * BLOCK))
    assert not np.array_equal(one.sources(0, BLOCK), Shares([0.7, 0.3], 2).sources(0, BLOCK))


@settings(deadline=None, max_examples=60)
@given(weights=st.lists(st.floats(1e-300, 1e300), min_size=1, max_size=20))
def test_weights_are_rounded(weights: list[float]) -> None:
    """To what adds up, no further than one step away but for those that would be nothing."""
    counts = rounded(weights, BLOCK)
    assert (counts.sum(), counts.min() >= 1) == (BLOCK, True)
    exact = np.array(weights) / max(weights)
    exact *= BLOCK / exact.sum()
    assert (np.abs(counts - exact) <= 1 + (exact < 1).sum()).all()


def test_plain_weights_are_exact() -> None:
    """Halves and quarters are not rounded."""
    assert rounded([1, 1, 2], 4096).tolist() == [1024, 1024, 2048]
    with pytest.raises(ValueError, match="3 weights cannot share 2"):
        rounded([1, 1, 1], 2)


@pytest.mark.parametrize("weight", [0.0, -1.0, float("nan"), float("inf")])
def test_a_weight_that_is_none_is_refused(weight: float) -> None:
    """In one line."""
    with pytest.raises(InputError, match="must be a positive number, not"):
        Shares([1.0, weight], 0)
