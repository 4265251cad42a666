"""Chunks shared by nodes: each sample once, each chunk by one node, whatever happens between."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nvg.loader.deal import Deal, Piece, share

light = settings(deadline=None, max_examples=60)
COUNTS = st.lists(st.integers(0, 9), min_size=1, max_size=30).filter(any)
NODES = st.integers(1, 5)


def pieces_of(counts: list[int]) -> list[Piece]:
    """Whole chunks with so many rows."""
    return [Piece(chunk, range(count)) for chunk, count in enumerate(counts)]


def samples(deal: Deal, node: int) -> list[tuple[int, int]]:
    """(chunk, row) of what a node shows, in order."""
    found = []
    for number, window in enumerate(deal.windows(node)):
        rows = [(piece.chunk, int(row)) for piece in window for row in piece.rows]
        found += [rows[n] for n in deal.rows(node, number, len(rows), 1)[0].tolist()]
    return found


@light
@given(counts=COUNTS, nodes=NODES, window=st.integers(1, 4), epoch=st.integers(0, 3))
def test_nodes_show_each_sample_once_in_even_shares(
    counts: list[int], nodes: int, window: int, epoch: int
) -> None:
    """At most one chunk more is read for each cut; the chunks of a node stay in all epochs."""
    deal = Deal(pieces_of(counts), 7, epoch, window, nodes)
    shown = [samples(deal, node) for node in range(nodes)]
    wanted = [(chunk, row) for chunk, count in enumerate(counts) for row in range(count)]
    assert sorted(sample for own in shown for sample in own) == wanted
    assert [len(own) for own in shown] == [share(len(wanted), nodes, n) for n in range(nodes)]
    chunks = [{chunk for chunk, _ in own} for own in shown]
    assert sum(map(len, chunks)) <= np.count_nonzero(counts) + nodes - 1
    later = Deal(pieces_of(counts), 7, epoch + 1, window, nodes)
    assert [{chunk for chunk, _ in samples(later, node)} for node in range(nodes)] == chunks


@light
@given(
    counts=COUNTS,
    window=st.integers(1, 4),
    first=NODES,
    changes=st.lists(st.tuples(st.floats(0, 1), NODES), max_size=4),
)
def test_a_change_of_nodes_loses_and_repeats_nothing(
    counts: list[int], window: int, first: int, changes: list[tuple[float, int]]
) -> None:
    """What was shown before each change, and what is left after the last, is each sample once."""
    deal, seen = Deal(pieces_of(counts), 3, 2, window, first), []
    for part, nodes in changes:
        shown = int(part * deal.count)
        for node in range(deal.nodes):
            seen += samples(deal, node)[: share(shown, deal.nodes, node)]
        deal = deal.again(shown, nodes)
    for node in range(deal.nodes):
        seen += samples(deal, node)
    assert sorted(seen) == [(n, row) for n, count in enumerate(counts) for row in range(count)]


@pytest.mark.parametrize("nodes", [2, 4])
def test_an_order_is_another_for_each_node_deal_and_epoch(nodes: int) -> None:
    """And the same whenever it is asked for."""
    one = Deal(pieces_of([8] * 16), 1, 0, 4, nodes)
    orders = [samples(one, node) for node in range(nodes)]
    orders += [samples(Deal(one.pieces, 1, 1, 4, nodes), node) for node in range(nodes)]
    orders += [samples(one.again(0, nodes), node) for node in range(nodes)]
    assert len({tuple(order) for order in orders}) == 3 * nodes
    assert samples(Deal(one.pieces, 1, 0, 4, nodes), 1) == orders[1]


@given(count=st.integers(0, 100), nodes=NODES)
def test_shares_are_even_and_whole(count: int, nodes: int) -> None:
    """They add up, differ by one at most, and the first have it."""
    shares = [share(count, nodes, node) for node in range(nodes)]
    assert sum(shares) == count
    assert shares == sorted(shares, reverse=True)
    assert shares[0] - shares[-1] <= 1
