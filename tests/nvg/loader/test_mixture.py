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


def loader(batch: int, seed: int, rank: int, world: int, mode: LoaderMode) -> MixtureLoader:
    """Over both stores."""
    store = mixed()
    return MixtureLoader(
        store, store.spans, store.weights, batch, seed, rank, world, mode=mode, window=2
    )


def rows(batches: list[Sequences]) -> list[int]:
    """In the order of the draws."""
    return [row for batch in batches if batch.row is not None for row in batch.row.tolist()]


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
