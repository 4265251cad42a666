"""Any sequence of stops, resumes and world sizes: each epoch holds each sample exactly once."""

import hashlib
import json
import uuid

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils.data import DataLoader

from nvg.loader import LoaderMode, LoaderState, SequenceLoader
from nvg.sequence import Sequences
from nvg.store import Store
from tests.nvg.loader.makers import numbered_store, rows_of
from tests.nvg.store.makers import make_store
from tests.processes import server

light = settings(deadline=None, max_examples=25)
MODES = st.sampled_from([LoaderMode.MEMORY, LoaderMode.STREAM])
BAD = (0, 17, 18, 40)


def loaders(
    store: Store,
    batch: int,
    world: int,
    state: LoaderState | None,
    mode: LoaderMode,
    seed: int,
    nodes: int = 1,
) -> list[SequenceLoader]:
    """All ranks, at a state if there is one."""
    made = [
        SequenceLoader(
            store, batch, seed, rank, world, drop_last=False, mode=mode, window=2, nodes=nodes
        )
        for rank in range(world)
    ]
    for loader in made:
        if state is not None:
            loader.load_state_dict(state)
    return made


@pytest.mark.thorough
@light
@given(
    rows=st.sampled_from([1, 15, 16, 33, 70]),  # chunks have sixteen
    seed=st.integers(0, 2**40),
    mode=MODES,
    stretches=st.lists(
        st.tuples(st.integers(1, 4), st.integers(1, 3), st.integers(1, 9), st.integers(0, 12)),
        max_size=12,
    ),
)
def test_every_epoch_holds_every_sample_once(
    rows: int, seed: int, mode: LoaderMode, stretches: list[tuple[int, int, int, int]]
) -> None:
    """Stretches of (nodes, ranks of each, batch, steps): each begins where one before stopped."""
    bad = tuple(row for row in BAD if row < rows - 1)
    store = numbered_store(rows, 1, bad)
    state: LoaderState | None = None
    epochs: dict[int, list[int]] = {}
    for nodes, own, batch, steps in [*stretches, (2, 1, 4, 10**6)]:
        world = nodes * own
        ranks = loaders(store, batch, world, state, mode, seed, nodes)
        iterators = [iter(loader) for loader in ranks]
        for _ in range(steps):
            epoch = ranks[0].epoch
            parts = [next(iterator, None) for iterator in iterators]
            assert len({part is None for part in parts}) == 1, "ranks disagree on the end"
            if parts[0] is None:
                break
            assert max(len(part) for part in parts if part) <= batch
            epochs.setdefault(epoch, []).extend(rows_of([part for part in parts if part]))
        states = [json.loads(json.dumps(loader.state_dict())) for loader in ranks]
        assert states == states[:1] * world
        state = states[0]
    wanted = sorted(set(range(rows)) - set(bad))
    *whole, last = [sorted(found) for _, found in sorted(epochs.items())] or [wanted]
    assert all(found == wanted for found in whole)
    assert last == wanted or ranks[0].position == 0


@pytest.mark.thorough
@light
@given(batch=st.integers(1, 9), window=st.integers(1, 7), seed=st.integers(0, 99))
def test_a_streamed_order_is_the_same_for_any_batch(batch: int, window: int, seed: int) -> None:
    """Cut at any place and read with any batch, the order is one."""
    store = numbered_store(70, 2, BAD)

    def opened(size: int) -> SequenceLoader:
        return SequenceLoader(
            store, size, seed, drop_last=False, mode=LoaderMode.STREAM, window=window
        )

    whole = rows_of(list(opened(66)))
    assert sorted(whole) == sorted(set(range(70)) - set(BAD))
    assert rows_of(list(opened(batch))) == whole
    resumed = opened(batch)
    resumed.load_state_dict({"seed": seed, "epoch": 0, "position": 23, "window": window})
    assert rows_of(list(resumed)) == whole[23:]


@pytest.mark.parametrize(
    ("window", "wanted"),
    [
        (None, "c11271d57b324779"),
        (1, "83bf9e21359558eb"),
        (2, "dcd46c695cc97128"),
        (3, "168327a83b136894"),
    ],
)
def test_one_node_shows_what_it_always_has(window: int | None, wanted: str) -> None:
    """Three epochs to the bit, as version 0.1 showed them: leaves, content, labels and rows."""
    store = numbered_store(90, 2, BAD, tuple(range(60, 70)))
    mode = LoaderMode.STREAM if window else LoaderMode.MEMORY
    loader = SequenceLoader(store, 7, 5, drop_last=False, mode=mode, window=window or 1)
    seen = hashlib.sha256()
    for batch in (batch for _ in range(3) for batch in loader):
        assert batch.row is not None
        for part in (batch.leaves, batch.content, batch.label, batch.row):
            seen.update(part.numpy().tobytes())
    assert seen.hexdigest()[:16] == wanted


@pytest.mark.parametrize("mode", [LoaderMode.MEMORY, LoaderMode.STREAM])
def test_a_batch_is_its_own(mode: LoaderMode) -> None:
    """Writing to one changes no other and no later epoch; nor does memory that is used again."""
    store = numbered_store(70)
    loader = SequenceLoader(store, 7, drop_last=False, mode=mode, window=1)
    kept = list(loader)
    assert sorted(rows_of(kept)) == list(range(70))
    for batch in kept:
        assert batch.row is not None
        assert torch.equal(batch.row, batch.label.long())
        batch.label.fill_(-1)
        batch.row.fill_(-1)
        batch.leaves.fill_(0)
    later = list(loader)
    assert sorted(rows_of(later)) == list(range(70))
    for batch in later:
        assert np.array_equal(batch.leaves.numpy(), store.leaves[:][batch.label.numpy(), 0])


@pytest.mark.parametrize("cut", [0, 1, 3, 4])
def test_the_same_nodes_go_on_exactly(cut: int) -> None:
    """Stopped after any step of two epochs, each rank shows what it would have shown."""
    store, place = numbered_store(70, 2, BAD), (3, 4, None, LoaderMode.STREAM, 9, 2)
    ranks = loaders(store, *place)
    whole = [rows_of([batch for _ in range(2) for batch in rank]) for rank in ranks]
    stopped = loaders(store, *place)
    iterators = [iter(rank) for rank in stopped]
    before = [rows_of([next(each) for _ in range(cut)]) for each in iterators]
    resumed = loaders(store, 3, 4, stopped[0].state_dict(), LoaderMode.STREAM, 0, 2)
    after = [rows_of([b for _ in range(2) for b in rank]) for rank in resumed]
    assert [one + other for one, other in zip(before, after, strict=True)] == whole
    assert sorted(row for rank in whole for row in rank) == sorted(
        2 * list(set(range(70)) - set(BAD))
    )


def test_a_state_tells_the_nodes() -> None:
    """Only where there are several or their number has changed; it starts anew with an epoch."""
    store = numbered_store(70)
    two = SequenceLoader(store, 4, 1, 0, 4, mode=LoaderMode.STREAM, window=2, nodes=2)
    next(iter(two))
    place = {"seed": 1, "epoch": 0, "position": 16, "mode": "stream", "window": 2}
    assert two.state_dict() == {**place, "nodes": 2}
    alone = SequenceLoader(store, 6, 1, mode=LoaderMode.STREAM, window=2)
    alone.load_state_dict(two.state_dict())
    assert alone.state_dict() == {**place, "deals": [[2, 16]]}
    assert len(rows_of(list(alone))) == 54
    assert alone.state_dict() == {**place, "epoch": 1, "position": 0}
    with pytest.raises(ValueError, match="4 ranks cannot be on 3 nodes"):
        SequenceLoader(store, 4, 1, 0, 4, nodes=3)


def test_a_window_mixes_its_chunks_and_no_others() -> None:
    """Rows of one window come from its chunks, shuffled among each other; epochs differ."""
    store = numbered_store(160)  # ten chunks of sixteen
    loader = SequenceLoader(store, 160, 3, mode=LoaderMode.STREAM, window=4)
    first, second = (np.array(rows_of(list(loader))) for _ in range(2))
    for order in (first, second):
        for start in range(0, 160, 64):
            chunks = set((order[start : start + 64] // 16).tolist())
            assert len(chunks) == min(4, 10 - start // 16)
        switches = (np.diff(order[:64] // 16) != 0).mean()
        assert switches > 0.5
    assert first.tolist() != second.tolist()


@pytest.mark.thorough
def test_streamed_batches_are_what_the_store_holds() -> None:
    """Leaves, content and label of one image and view stay together; all views are drawn."""
    store = numbered_store(70, 2, BAD)
    loader = SequenceLoader(store, 9, 3, drop_last=False, mode=LoaderMode.STREAM, window=3)
    drawn = torch.zeros(70, 2)
    for _ in range(12):
        for batch in loader:
            for leaves, content, label in zip(
                batch.leaves, batch.content, batch.label, strict=True
            ):
                row, view = int(label), int(content[0])
                assert np.array_equal(leaves.numpy(), store.leaves[row, view])
                assert np.array_equal(content.numpy(), store.content[row, view])
                drawn[row, view] += 1
    assert drawn.sum(1).tolist() == [0 if row in BAD else 12 for row in range(70)]
    assert 0.4 < float(drawn[:, 0].sum() / drawn.sum()) < 0.6


def test_two_byte_leaves_stream_across_windows() -> None:
    """Batches that span windows are joined, in every dtype the store has."""
    store = make_store(f"memory://{uuid.uuid4()}/a.vgs", 6, grid=32, chunk_rows=2)
    (batch,) = SequenceLoader(store, 6, mode=LoaderMode.STREAM, window=1)
    assert (batch.leaves.dtype, batch.content.dtype) == (torch.uint16, torch.uint16)
    assert sorted(batch.leaves[5].tolist()) == list(range(1024))


def test_a_state_keeps_its_mode() -> None:
    """A loader that preloads goes on streaming where the state's did, in the same order."""
    store = numbered_store(70)
    streaming = SequenceLoader(store, 5, 1, mode=LoaderMode.STREAM, window=2)
    whole = rows_of(list(SequenceLoader(store, 5, 1, mode=LoaderMode.STREAM, window=2)))
    iterator = iter(streaming)
    seen = rows_of([next(iterator) for _ in range(4)])
    other = SequenceLoader(store, 5, 1, mode=LoaderMode.MEMORY)
    other.load_state_dict(streaming.state_dict())
    assert seen + rows_of(list(other)) == whole


@pytest.mark.thorough
@pytest.mark.parametrize(
    ("mode", "workers"),
    [
        (LoaderMode.MEMORY, 0),
        (LoaderMode.STREAM, 0),
        (LoaderMode.STREAM, 2),
        pytest.param(LoaderMode.MEMORY, 1, marks=pytest.mark.slow),
        pytest.param(LoaderMode.MEMORY, 2, marks=pytest.mark.slow),
        pytest.param(LoaderMode.STREAM, 1, marks=pytest.mark.slow),
    ],
)
def test_a_torch_dataloader_may_carry_it(
    workers: int, mode: LoaderMode, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """With any number of worker processes each sample comes once, whole batches at a time."""
    store = make_store(tmp_path_factory.mktemp("s") / "a.vgs", 30, bad=(3,), chunk_rows=4)
    loader = SequenceLoader(store, 4, 2, drop_last=False, mode=mode, window=2)
    batches: list[Sequences] = list(
        DataLoader(loader, batch_size=None, num_workers=workers, multiprocessing_context=server())
        if workers
        else DataLoader(loader, batch_size=None)
    )
    assert sum(map(len, batches)) == 29
    found = sorted(bytes(c.numpy().tobytes()) for batch in batches for c in batch.content)
    good = [row for row in range(30) if row != 3]
    assert found == sorted(store.content[row, 0].tobytes() for row in good)
