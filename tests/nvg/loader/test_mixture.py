"""Mixtures: shares, whole epochs of each store, the same batches after any stop and in ranks."""

from collections import Counter
from functools import cache
from itertools import islice

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from nvg.compose.mixture import MixedStore, Mixture, open_mixture
from nvg.errors import InputError
from nvg.loader import LoaderMode, SequenceLoader
from nvg.loader.deal import share
from nvg.loader.mixture import MixtureLoader
from nvg.loader.shares import Shares
from nvg.sequence import Sequences
from tests.nvg.compose.makers import memory
from tests.nvg.store.makers import make_store, random_codec

MODES = (LoaderMode.MEMORY, LoaderMode.STREAM)
light = settings(deadline=None, max_examples=12)


@cache
def mixed(views: int = 1) -> MixedStore:
    """Rows 0..10 of one store with an error row, 11..17 of another with two held out."""
    home = memory()
    one = make_store(f"{home}/a.vgs", 11, views, bad=(3,))
    other = make_store(f"{home}/b.vgs", 7, views, seed=1, key="b", val=(5, 6), chunk_rows=2)
    return open_mixture(Mixture((one.path, other.path), (0.7, 0.3)))


TRAINED = ([0, 1, 2, *range(4, 11)], [11, 12, 13, 14, 15])


def loader(
    batch: int, seed: int, rank: int, world: int, mode: LoaderMode, nodes: int = 1
) -> MixtureLoader:
    """Over both stores."""
    store = mixed()
    place = (batch, seed, rank, world)
    return MixtureLoader(
        store, store.spans, store.weights, *place, mode=mode, window=2, nodes=nodes
    )


def rows(batches: list[Sequences]) -> list[int]:
    """In the order of the draws."""
    return [row for batch in batches if batch.row is not None for row in batch.row.tolist()]


@pytest.mark.thorough
@light
@given(
    seed=st.integers(0, 2**31),
    batch=st.integers(1, 9),
    steps=st.integers(1, 25),
    mode=st.sampled_from(MODES),
)
def test_each_store_has_whole_epochs_in_its_share(
    seed: int, batch: int, steps: int, mode: LoaderMode
) -> None:
    """Its rows to train on, each once before any comes again; as many draws as its weight says."""
    found = rows(list(islice(loader(batch, seed, 0, 1, mode), steps)))
    drawn = Shares((0.7, 0.3), seed).sources(0, batch * steps)
    for source, own in enumerate(TRAINED):
        seen = [row for row in found if row in own]
        assert len(seen) == (drawn == source).sum()
        assert abs(len(seen) - (0.7, 0.3)[source] * batch * steps) <= 3
        for start in range(0, len(seen), len(own)):
            epoch = Counter(seen[start : start + len(own)])
            assert max(epoch.values()) == 1
            assert start + len(own) > len(seen) or set(epoch) == set(own)
    assert set(found) <= {row for own in TRAINED for row in own}


@pytest.mark.thorough
@light
@given(
    seed=st.integers(0, 2**31),
    batch=st.integers(1, 5),
    stop=st.integers(0, 15),
    worlds=st.tuples(st.integers(1, 3), st.integers(1, 3)),
    mode=st.sampled_from(MODES),
)
def test_a_stop_changes_nothing_nor_do_ranks(
    seed: int, batch: int, stop: int, worlds: tuple[int, int], mode: LoaderMode
) -> None:
    """Stopped after any step of so many ranks, gone on with others: one order of draws."""
    before, after = worlds
    ranks = [loader(batch, seed, rank, before, mode) for rank in range(before)]
    steps = zip(*(islice(each, stop) for each in ranks), strict=True)
    found = rows([part for step in steps for part in step])
    state = ranks[0].state_dict()
    others = [loader(batch, seed, rank, after, LoaderMode.AUTO) for rank in range(after)]
    for each in others:
        each.load_state_dict(state)
    found += rows(
        [part for step in zip(*(islice(each, 4) for each in others), strict=True) for part in step]
    )
    assert found == rows(list(islice(loader(1, seed, 0, 1, mode), len(found))))


@pytest.mark.thorough
@light
@given(
    seed=st.integers(0, 2**31),
    nodes=st.integers(1, 4),
    own=st.integers(1, 2),
    batch=st.integers(1, 4),
    stop=st.integers(0, 7),
)
def test_nodes_share_whole_epochs(seed: int, nodes: int, own: int, batch: int, stop: int) -> None:
    """Stopped or not, a node shows the same rows of each store in each epoch, others the others."""
    world = nodes * own
    place = (world, LoaderMode.STREAM, nodes)
    ranks = [loader(batch, seed, rank, *place) for rank in range(world)]
    steps = 60 // (batch * own) + 1
    before = [list(islice(rank, stop)) for rank in ranks]
    resumed = [loader(batch, seed, rank, *place) for rank in range(world)]
    for rank in resumed:
        rank.load_state_dict(ranks[0].state_dict())
    after = [list(islice(rank, steps - stop)) for rank in resumed]
    joined = [rows(one + other) for one, other in zip(before, after, strict=True)]
    whole = [rows(list(islice(loader(batch, seed, rank, *place), steps))) for rank in range(world)]
    assert joined == whole
    for source in TRAINED:
        shown = [_epochs(whole[n * own : (n + 1) * own], batch, source) for n in range(nodes)]
        shares = [set(seen[: share(len(source), nodes, n)]) for n, seen in enumerate(shown)]
        assert sorted(row for each in shares for row in each) == source
        assert [set(seen) for seen in shown] == shares


def _epochs(ranks: list[list[int]], batch: int, source: list[int]) -> list[int]:
    """The rows of one source that the ranks of a node show, in the order of its draws."""
    steps = len(ranks[0]) // batch
    drawn = [row for step in range(steps) for r in ranks for row in r[step * batch :][:batch]]
    return [row for row in drawn if row in source]


def test_more_nodes_than_rows_share_nothing() -> None:
    """Every node reads all, as one does."""
    alone, many = (loader(2, 1, 0, 6, LoaderMode.STREAM, nodes) for nodes in (1, 6))
    assert many.nodes == 1
    assert rows(list(islice(many, 5))) == rows(list(islice(alone, 5)))


def test_another_number_of_nodes_goes_on_about_there() -> None:
    """The state tells them; in the epoch of a change a row comes at most twice."""
    two = loader(2, 4, 0, 2, LoaderMode.STREAM, 2)
    found = rows(list(islice(two, 3)))
    state = two.state_dict()
    assert (state["nodes"], state["position"]) == (2, 12)
    one = loader(2, 4, 0, 1, LoaderMode.STREAM)
    one.load_state_dict(state)
    found += rows(list(islice(one, 2)))
    assert max(Counter(found).values()) <= 2
    assert one.state_dict()["position"] == 16


def test_samples_are_those_of_the_store() -> None:
    """Tokens and joined labels of the rows that a batch names."""
    store = mixed()
    for batch in islice(loader(6, 1, 0, 1, LoaderMode.MEMORY), 5):
        assert batch.row is not None
        leaves, content = store.row_tokens(batch.row.tolist())
        assert torch.equal(batch.leaves.long(), torch.from_numpy(leaves[:, 0]))
        assert torch.equal(batch.content.long(), torch.from_numpy(content[:, 0]))
        labels = [store.index["label"][row].as_py() for row in batch.row.tolist()]
        assert batch.label.tolist() == labels


def test_one_store_is_shown_as_ever() -> None:
    """A mixture of one has the epochs of the loader of one, for the seed of its first source."""
    store = mixed()
    first = MixtureLoader(store, [(0, len(store))], [1.0], 5, seed=3, mode=LoaderMode.MEMORY)
    own = SequenceLoader(store, 5, seed=first.source_seed(0), mode=LoaderMode.MEMORY)
    assert rows(list(islice(first, 3))) == rows(list(own))


def test_another_mixture_is_refused() -> None:
    """A state of other shares, or of a loader of one store."""
    store, own = mixed(), loader(2, 0, 0, 1, LoaderMode.MEMORY)
    other = MixtureLoader(store, store.spans, (0.5, 0.5), 2, mode=LoaderMode.MEMORY)
    for state in (other.state_dict(), SequenceLoader(store, 2).state_dict()):
        with pytest.raises(InputError, match="another seed or other --weights: give the same"):
            own.load_state_dict(state)


def test_a_store_without_rows_to_train_on_is_named() -> None:
    """By its number on the command line."""
    store = mixed()
    with pytest.raises(InputError, match=r"store 2 of .*a\.vgs \+ .*b\.vgs has no row to train on"):
        MixtureLoader(store, [(0, 16), (16, 18)], (0.5, 0.5), 2)


def test_features_come_along() -> None:
    """Of stores that have the same."""
    home = memory()
    paths = [make_store(f"{home}/{k}.vgs", 4, key=k, codec=random_codec()).path for k in "ab"]
    store = open_mixture(Mixture(tuple(paths)))
    batch = next(iter(MixtureLoader(store, store.spans, store.weights, 4, features=True)))
    assert batch.features is not None
    assert batch.features.shape == (4, 16, 3)
