"""From which of several sources each sample of a mixture is drawn: exact shares, seeded order.

Draws come in blocks of BLOCK. Every block has the same number from each source, spread out evenly
with a random offset each, so that the samples before any draw are in the proportion of the weights
to within a few. The source of a draw, and how many came before from it, need no other draw.
"""

from collections.abc import Sequence
from functools import lru_cache
from math import isfinite
from typing import Any

import numpy as np

from nvg.errors import InputError
from nvg.seeding import draw_offsets

Counts = np.ndarray[Any, np.dtype[np.int64]]
BLOCK = 4096


class Shares:
    """The draws of a mixture with these weights, of which only the proportions matter.

    They are rounded to multiples of 1 / BLOCK, and none to nothing. InputError for a weight that
    is no positive number.
    """

    def __init__(self, weights: Sequence[float], seed: int) -> None:
        for weight in weights:
            if not (isfinite(weight) and weight > 0):
                raise InputError(f"a weight of a mixture must be a positive number, not {weight}")
        self.seed = seed
        self.counts = rounded(weights, BLOCK)
        """Draws of a block from each source."""

    def sources(self, start: int, stop: int) -> Counts:
        """The source of each draw start..stop-1."""
        blocks = range(start // BLOCK, -(-stop // BLOCK))
        orders = [self._order(block) for block in blocks]
        first = blocks.start * BLOCK
        drawn = np.concatenate(orders) if orders else np.empty(0, np.int64)
        return drawn[start - first : stop - first]

    def before(self, draw: int) -> Counts:
        """How many of the draws 0..draw-1 are from each source."""
        block, inside = divmod(draw, BLOCK)
        counts = self.counts * block
        if inside:
            counts = counts + np.bincount(self._order(block)[:inside], minlength=len(counts))
        return counts

    def _order(self, block: int) -> Counts:
        return _block_order(tuple(self.counts.tolist()), self.seed, block)


def rounded(weights: Sequence[float], total: int) -> Counts:
    """Whole numbers that add up to `total`, nearest to the proportion of the weights, none 0.

    ValueError for more weights than that.
    """
    if len(weights) > total:
        raise ValueError(f"{len(weights)} weights cannot share {total}")
    exact = np.array(weights, np.float64) / np.max(weights)
    exact *= total / exact.sum()
    counts = np.floor(exact).astype(np.int64)
    counts[np.argsort(counts - exact, kind="stable")[: total - int(counts.sum())]] += 1
    for none in np.flatnonzero(counts == 0):
        counts[np.argmax(counts)] -= 1
        counts[none] = 1
    return counts


@lru_cache(maxsize=4)
def _block_order(counts: tuple[int, ...], seed: int, block: int) -> Counts:
    """The sources of a block's draws: draw j of n from one falls into the j-th n-th of it."""
    places = [
        (np.arange(count) + offsets) / count
        for count, offsets in zip(
            counts, np.split(draw_offsets(BLOCK, seed, block), np.cumsum(counts)[:-1]), strict=True
        )
    ]
    order = np.repeat(np.arange(len(counts)), counts)[
        np.argsort(np.concatenate(places), kind="stable")
    ]
    order.flags.writeable = False
    return order
