"""Several stores as one in this process, and how a command line names them."""

from pathlib import Path
from typing import Any

import pytest

from nvg.compose.merge import merge_stores
from nvg.compose.mixture import Mixture, absolute, open_mixture, open_tokens, places_of
from nvg.errors import InputError
from nvg.format.base import StoreError
from nvg.store.sharded import ShardedStore
from tests.nvg.compose.makers import two_stores
from tests.nvg.store.makers import make_store


def test_a_mixture_is_the_rows_of_all_stores(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Wherever they lie; a merged store counts as one."""
    one, other = two_stores(str(tmp_path / "deep"))
    third = make_store(tmp_path / "e.vgs", 4, key="e")
    merge_stores([one.path, other.path], str(tmp_path / "c.vgs"))
    monkeypatch.chdir(tmp_path)
    found = open_mixture(Mixture(("c.vgs", third.path), (3.0, 1.0)))
    assert (found.path, found.verify()) == (f"c.vgs + {third.path}", [])
    assert (found.spans, found.weights) == ([(0, 17), (17, 21)], (3.0, 1.0))
    assert found.manifest.classes == ("ant", "bee", "cat", "oak", "fir")


def test_without_weights_the_rows_to_train_on_count(tmp_path: Path) -> None:
    """Error rows and held-out ones do not; one identity for one mixture."""
    paths = tuple(store.path for store in two_stores(str(tmp_path)))
    found = open_mixture(Mixture(paths))
    assert found.weights == (9.0, 4.0)
    assert open_mixture(Mixture(paths)).manifest == found.manifest


@pytest.mark.parametrize("rows", [{"val": range(4)}, {"bad": range(4)}])
@pytest.mark.parametrize("weights", [(), (0.5, 0.5)])
def test_a_store_without_a_row_to_train_on_is_named(
    tmp_path: Path, rows: dict[str, Any], weights: tuple[float, ...]
) -> None:
    """With or without weights: it is no fault of these."""
    store = make_store(tmp_path / "a.vgs", 4)
    other = make_store(tmp_path / "b.vgs", 4, key="b", **rows)
    with pytest.raises(InputError, match=r"b\.vgs has no row to train on: leave it out"):
        open_mixture(Mixture((store.path, other.path), weights))


def test_names_of_stores_are_one_or_a_mixture(tmp_path: Path) -> None:
    """As --store and --weights give them."""
    assert places_of(["a.vgs"], None) == "a.vgs"
    assert places_of(["a", "b"], "0.7, 0.3") == Mixture(("a", "b"), (0.7, 0.3))
    assert places_of(["a", "b"], None) == Mixture(("a", "b"))
    for paths, weights, said in (
        (["a"], "1", "give --store for each"),
        (["a", "b"], "", "must be numbers such as 0.7,0.3"),
        (["a", "b"], "1,x", "must be numbers such as 0.7,0.3"),
        (["a", "b"], "1", "1 weights for 2 stores"),
    ):
        with pytest.raises(InputError, match=said):
            places_of(paths, weights)
    here = str(Path("a").absolute())
    assert absolute("a") == here
    assert absolute(Mixture(("a", "s3://b/c"), (1.0, 2.0))) == Mixture(
        (here, "s3://b/c"), (1.0, 2.0)
    )


def test_a_place_opens_as_what_it_is(tmp_path: Path) -> None:
    """A path as a store of its own; stores that are not alike are refused."""
    store = make_store(tmp_path / "a.vgs", 4)
    other = make_store(tmp_path / "b.vgs", 4, key="b", views=2)
    assert type(open_tokens(store.path)) is ShardedStore
    with pytest.raises(StoreError, match="views differs"):
        open_tokens(Mixture((store.path, other.path)))
