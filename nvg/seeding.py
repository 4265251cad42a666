"""The order in which rows are visited: a permutation that depends on (seed, epoch) only."""

from functools import lru_cache
from typing import Any

import numpy as np

Rows = np.ndarray[Any, np.dtype[np.int64]]

LAST_PART = 2**64 - 1  # of a stream: that of a mixture's draws, which no window reaches
PERMUTATION, VIEWS = 0, 1  # independent streams of one (seed, epoch)


def _generator(seed: int, epoch: int, stream: int, part: int = 0) -> np.random.Generator:
    """Counter-based: any epoch's stream is reached without drawing the ones before.

    A `part` of it has its own stretch of 2^192 draws.
    """
    if seed < 0:
        raise ValueError(f"seed must not be negative, not {seed}")
    key = np.array([seed, epoch * 2 + stream], dtype=np.uint64)
    return np.random.Generator(np.random.Philox(key=key, counter=part << 192))


def part_order(count: int, views: int, seed: int, epoch: int, part: int) -> tuple[Rows, Rows]:
    """A permutation of 0..count-1, and a view for each, of one part (window) of an epoch."""
    order = _generator(seed, epoch, PERMUTATION, part + 1).permutation(count)
    return order, _generator(seed, epoch, VIEWS, part + 1).integers(views, size=count)


@lru_cache(maxsize=2)
def permutation(count: int, seed: int, epoch: int) -> Rows:
    """A permutation of 0..count-1, int64, read-only."""
    order = _generator(seed, epoch, PERMUTATION).permutation(count)
    order.flags.writeable = False
    return order


@lru_cache(maxsize=2)
def view_choice(count: int, views: int, seed: int, epoch: int) -> Rows:
    """Which stored view each row shows in this epoch [count], int64, read-only."""
    choice = _generator(seed, epoch, VIEWS).integers(views, size=count)
    choice.flags.writeable = False
    return choice


def draw_offsets(count: int, seed: int, block: int) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Random numbers in 0..1 for a block of a mixture's draws [count]."""
    return _generator(seed, block, PERMUTATION, LAST_PART).random(count)


def step_rows(count: int, batch_size: int, seed: int, step: int) -> Rows:
    """Rows of training step `step` when whole batches are taken epoch after epoch."""
    per_epoch = max(count // batch_size, 1)
    epoch, batch = divmod(step, per_epoch)
    return permutation(count, seed, epoch)[batch * batch_size : (batch + 1) * batch_size]


def shard_seed(seed: int, step: int, shard: int) -> int:
    """The seed of one micro-batch of a step; that of the first is the step's own."""
    return step_seed(seed, step) if shard == 0 else step_seed(step_seed(seed, step), shard)


def step_seed(seed: int, step: int) -> int:
    """One 63-bit seed per (seed, step): SplitMix64's finalizer over both."""
    value = (seed * 0x9E3779B97F4A7C15 + step + 1) & (2**64 - 1)
    value = ((value ^ (value >> 30)) * 0xBF58476D1CE4E5B9) & (2**64 - 1)
    value = ((value ^ (value >> 27)) * 0x94D049BB133111EB) & (2**64 - 1)
    return (value ^ (value >> 31)) >> 1
