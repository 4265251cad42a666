"""The loader: every valid row once an epoch, in an order that survives stopping and other ranks."""

import uuid
from itertools import islice
from typing import cast

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from nvg.errors import InputError
from nvg.geometry import Geometry
from nvg.loader import LoaderMode, LoaderState, SequenceLoader
from nvg.sequence import Sequences
from nvg.store import Split
from tests.nvg.loader.makers import numbered_store, rows_of
from tests.nvg.store.makers import make_store

light = settings(deadline=None, max_examples=30)
ROWS = st.sampled_from([1, 15, 16, 17, 60])  # chunks have sixteen
SEED = st.integers(0, 2**31)


def endless(loader: SequenceLoader, count: int) -> list[Sequences]:
    """The next `count` batches, epoch after epoch."""
    return list(islice((batch for _ in range(count + 1) for batch in loader), count))


@pytest.mark.thorough
@light
@given(
    rows=ROWS,
    batch=st.integers(1, 7),
    world=st.integers(1, 5),
    seed=SEED,
    epochs=st.integers(1, 3),
)
def test_every_row_comes_at_most_once_an_epoch_over_all_ranks(
    rows: int, batch: int, world: int, seed: int, epochs: int
) -> None:
    """All ranks together see as many whole steps as fit, without a repeat, in every epoch."""
    rows = max(rows, batch * world)
    store = numbered_store(rows)
    ranks = [SequenceLoader(store, batch, seed, rank, world) for rank in range(world)]
    steps = rows // (batch * world)
    for _ in range(epochs):
        parts = [list(loader) for loader in ranks]
        assert [len(part) for part in parts] == [steps] * world == [len(x) for x in ranks]
        assert {len(each) for part in parts for each in part} == {batch}
        seen = rows_of([each for part in parts for each in part])
        assert len(seen) == len(set(seen)) == steps * batch * world


@pytest.mark.thorough
@light
@given(rows=ROWS, batch=st.integers(1, 70), seed=SEED)
def test_without_dropping_every_row_comes_exactly_once(rows: int, batch: int, seed: int) -> None:
    """drop_last=False shows the whole store in each epoch; only the last batch may be short."""
    loader = SequenceLoader(numbered_store(rows), batch, seed, drop_last=False)
    for _ in range(2):
        batches = list(loader)
        assert sorted(rows_of(batches)) == list(range(rows))
        assert [len(each) for each in batches[:-1]] == [batch] * (len(batches) - 1)
        assert len(batches) == len(loader)


@pytest.mark.thorough
@light
@given(batch=st.integers(1, 4), world=st.integers(1, 4), seed=SEED)
def test_the_order_is_the_same_for_any_batch_and_world(batch: int, world: int, seed: int) -> None:
    """Rank after rank within a step, the rows are those of one loader with batches of one."""
    store = numbered_store(24)
    ranks = [SequenceLoader(store, batch, seed, rank, world) for rank in range(world)]
    together = rows_of([part for step in zip(*ranks, strict=True) for part in step])
    alone = rows_of(list(SequenceLoader(store, 1, seed)))
    assert together == alone[: len(together)]


@light
@given(seed=SEED, epoch=st.integers(0, 5))
def test_the_order_depends_on_seed_and_epoch_only(seed: int, epoch: int) -> None:
    """A loader sent straight to an epoch shows what one that walked there shows."""
    store = numbered_store(20)
    walking = SequenceLoader(store, 4, seed)
    for _ in range(epoch):
        list(walking)
    jumping = SequenceLoader(store, 4, seed + 1)
    jumping.load_state_dict({"seed": seed, "epoch": epoch, "position": 0})
    assert rows_of(list(walking)) == rows_of(list(jumping))


def test_seeds_and_epochs_differ() -> None:
    """Another seed or epoch is another order."""
    store = numbered_store(60)
    loader = SequenceLoader(store, 10, seed=1)
    orders = [rows_of(list(loader)), rows_of(list(loader))]
    orders.append(rows_of(list(SequenceLoader(store, 10, seed=2))))
    assert len({tuple(order) for order in orders}) == 3


@pytest.mark.parametrize("cut", range(3 * 5 + 1))
def test_a_resumed_loader_goes_on_as_if_uninterrupted(cut: int) -> None:
    """Stopped after any batch of three epochs, the rest of the stream is equal part for part."""
    store = numbered_store(22, 2, (3, 9))
    uninterrupted = endless(SequenceLoader(store, 4, seed=5), 20)
    first = SequenceLoader(store, 4, seed=5)
    before = endless(first, cut)
    second = SequenceLoader(store, 4, seed=0)
    second.load_state_dict(first.state_dict())
    resumed = before + endless(second, 20 - cut)
    for expected, found in zip(uninterrupted, resumed, strict=True):
        assert torch.equal(expected.leaves, found.leaves)
        assert torch.equal(expected.content, found.content)
        assert torch.equal(expected.label, found.label)


def test_a_state_is_a_few_plain_values() -> None:
    """It goes through JSON, and does not move when the loader moves on."""
    loader = SequenceLoader(numbered_store(20), 4, seed=9)
    batches = iter(loader)
    next(batches)
    state = loader.state_dict()
    next(batches)
    assert state == {"seed": 9, "epoch": 0, "position": 4, "mode": "memory"}
    assert {type(value) for value in state.values()} == {int, str}
    loader.stream()
    streaming = {"seed": 9, "epoch": 0, "position": 8, "mode": "stream", "window": 16}
    assert loader.state_dict() == streaming


@pytest.mark.parametrize(
    ("window", "mode", "loaded"),
    [
        (None, LoaderMode.MEMORY, 5),
        (0, LoaderMode.MEMORY, 5),
        (3, LoaderMode.STREAM, 3),
    ],
)
def test_a_state_of_version_0_1_tells_its_mode_by_the_window(
    window: int | None, mode: LoaderMode, loaded: int
) -> None:
    """Such a checkpoint resumes in the mode and with the window it was made in."""
    loader = SequenceLoader(numbered_store(20), 4, window=5)
    state = {"seed": 1, "epoch": 2, "position": 4} | ({} if window is None else {"window": window})
    loader.load_state_dict(cast(LoaderState, state))
    assert (loader.mode, loader.window) == (mode, loaded)


@pytest.mark.thorough
@light
@given(
    before=st.sampled_from([1, 2, 3, 4, 6]),
    after=st.sampled_from([1, 2, 3, 4, 6]),
    steps=st.integers(0, 6),
    seed=SEED,
)
def test_another_world_size_loses_and_repeats_nothing(
    before: int, after: int, steps: int, seed: int
) -> None:
    """Where sizes divide, an epoch begun by some ranks is completed by others, each row once."""
    store = numbered_store(24)
    ranks = [SequenceLoader(store, 1, seed, rank, before) for rank in range(before)]
    steps = min(steps * before, 24) // before
    while steps * before % after:
        steps -= 1
    seen = rows_of([part for loader in ranks for part in islice(loader, steps)])
    state: LoaderState = ranks[0].state_dict()
    for rank in range(after):
        loader = SequenceLoader(store, 1, 0, rank, after)
        loader.load_state_dict(state)
        seen += rows_of(list(loader))
    assert sorted(seen) == list(range(24))


@pytest.mark.thorough
@light
@given(bad=st.sets(st.integers(0, 19), max_size=15))
def test_error_rows_never_appear(bad: set[int]) -> None:
    """The rows shown are the good ones."""
    loader = SequenceLoader(numbered_store(20, 1, tuple(sorted(bad))), 1)
    assert sorted(rows_of(list(loader))) == sorted(set(range(20)) - bad)


def test_a_batch_is_what_the_store_holds() -> None:
    """Leaves, content and label of one image stay together, in the store's dtypes and shapes."""
    store = numbered_store(10, 2, (4,))
    (batch,) = SequenceLoader(store, 9, seed=3)
    batch.check(Geometry(4))
    assert (batch.leaves.dtype, batch.content.dtype) == (torch.uint8, torch.uint16)
    for leaves, content, label in zip(batch.leaves, batch.content, batch.label, strict=True):
        row, view = int(label), int(content[0])
        assert np.array_equal(leaves.numpy(), store.leaves[row, view])
        assert np.array_equal(content.numpy(), store.content[row, view])


def test_every_view_is_drawn_in_time() -> None:
    """Over a few epochs each row shows each of its two views, about evenly."""
    loader = SequenceLoader(numbered_store(60, 2), 60, seed=1)
    drawn = torch.zeros(60, 2)
    for _ in range(40):
        (batch,) = loader
        drawn[batch.label.long(), batch.content[:, 0].long()] += 1
    assert int(drawn.min()) >= 5
    assert 0.45 < float(drawn[:, 0].sum() / drawn.sum()) < 0.55


def test_two_byte_leaves_are_handed_on() -> None:
    """A grid of 32 has leaves over 255, which arrive unharmed."""
    store = make_store(f"memory://{uuid.uuid4()}/a.vgs", 3, grid=32)
    (batch,) = SequenceLoader(store, 3)
    assert batch.leaves.dtype == torch.uint16
    assert sorted(batch.leaves[0].tolist()) == list(range(1024))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"batch_size": 2, "rank": 2, "world_size": 2}, r"rank 2 .*0\.\.1"),
        ({"batch_size": 2, "rank": -1}, "rank -1"),
        ({"batch_size": 2, "window": 0}, "window 0"),
        ({"batch_size": 11}, "10 usable rows"),
        ({"batch_size": 6, "world_size": 2}, "10 usable rows.* 6 x 2"),
        ({"batch_size": 0}, "batch_size"),
        ({"batch_size": -1}, "batch_size"),
    ],
)
def test_impossible_requests_are_refused(arguments: dict[str, int], words: str) -> None:
    """A ValueError says what does not fit."""
    with pytest.raises(ValueError, match=words):
        SequenceLoader(numbered_store(10), **arguments)  # type: ignore[arg-type]


def test_a_store_of_errors_only_cannot_be_loaded() -> None:
    """Not even without dropping: there is nothing to show."""
    with pytest.raises(ValueError, match="no rows with tokens in its train split"):
        SequenceLoader(numbered_store(5, 1, (0, 1, 2, 3, 4)), 1, drop_last=False)


@pytest.mark.thorough
@light
@given(
    val=st.sets(st.integers(0, 49), min_size=1, max_size=49),
    bad=st.sets(st.integers(0, 49), max_size=5),
    mode=st.sampled_from([LoaderMode.MEMORY, LoaderMode.STREAM]),
    seed=SEED,
)
def test_splits_never_mix(val: set[int], bad: set[int], mode: LoaderMode, seed: int) -> None:
    """Each loader shows the good rows of its split, all of them, in whichever chunks they are."""
    store = numbered_store(50, 1, tuple(sorted(bad)), tuple(sorted(val)))
    for split, rows in ((Split.TRAIN, set(range(50)) - val), (Split.VAL, val)):
        if rows <= bad:
            continue
        loader = SequenceLoader(store, 3, seed, drop_last=False, mode=mode, window=2, split=split)
        for _ in range(2):
            assert sorted(rows_of(list(loader))) == sorted(rows - bad)


@pytest.mark.thorough
@light
@given(
    count=ROWS,
    more=st.sampled_from([0, 1, 40]),
    mode=st.sampled_from([LoaderMode.MEMORY, LoaderMode.STREAM]),
    seed=SEED,
)
def test_held_out_rows_change_no_batch(count: int, more: int, mode: LoaderMode, seed: int) -> None:
    """With val rows after them, the rows for training come in the order they have without."""
    without = numbered_store(count, 2)
    beside = numbered_store(count + more, 2, (), tuple(range(count, count + more)))
    loaders = [
        SequenceLoader(store, 4, seed, drop_last=False, mode=mode, window=2)
        for store in (without, beside)
    ]
    for _ in range(2):
        one, other = (list(loader) for loader in loaders)
        assert rows_of(one) == rows_of(other)
        assert [b.content[:, 0].tolist() for b in one] == [b.content[:, 0].tolist() for b in other]


def test_a_store_without_held_out_rows_has_nothing_to_show_of_them() -> None:
    """The line names the store and both ways to get some."""
    store = numbered_store(10)
    with pytest.raises(
        InputError, match=r"a\.vgs has no val rows: set data\.heldout, or give .* a"
    ):
        SequenceLoader(store, 1, split=Split.VAL)
    few = numbered_store(10, 1, (), (8, 9))
    with pytest.raises(InputError, match="2 usable rows of its val split, fewer than"):
        SequenceLoader(few, 3, split=Split.VAL)
