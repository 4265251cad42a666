"""Linked stores as files: what is written, in which order, and what is refused."""

from pathlib import Path

import numpy as np
import pytest

from nvg.compose import pieces
from nvg.compose.pieces import Piece, joined_classes, pieces_of, write_linked
from nvg.format.base import StoreError
from nvg.store import open_store
from tests.makers import files_below
from tests.nvg.compose.makers import ANIMALS, PLANTS, two_stores
from tests.nvg.store.makers import change_manifest, empty_store, flip, make_store


def test_only_index_manifest_and_weights_are_written(tmp_path: Path) -> None:
    """No array; the weights are those of the first store."""
    one, other = two_stores(str(tmp_path))
    both = [*pieces_of(one), *pieces_of(other)]
    assert write_linked(str(tmp_path / "c.vgs"), both, joined_classes(both)) == 17
    files = files_below(tmp_path / "c.vgs")
    weights = {name: files_below(one.path)[name] for name in one.manifest.weights}
    assert files.keys() == {"manifest.json", "index.parquet", *weights}
    assert weights.items() <= files.items()


def test_a_write_that_is_cut_short_leaves_no_store(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The manifest comes last."""
    one = make_store(tmp_path / "a.vgs", 4)
    written: list[str] = []

    def cut(fs: object, path: str, data: bytes) -> None:
        written.append(Path(path).name)
        if path.endswith("manifest.json"):
            raise OSError("no space left")

    monkeypatch.setattr(pieces, "write_bytes", cut)
    with pytest.raises(OSError, match="no space"):
        write_linked(str(tmp_path / "c.vgs"), pieces_of(one), ANIMALS)
    assert written[-2:] == ["index.parquet", "manifest.json"]


def test_what_is_common_is_kept(tmp_path: Path) -> None:
    """Entries of recipes and versions that differ are left out."""
    one, other = two_stores(str(tmp_path))
    change_manifest(one, recipe={"data": {"path": "x"}, "tokenize": {"views": 1}})
    change_manifest(other, recipe={"data": {"path": "y"}, "tokenize": {"views": 1}})
    both = [piece for store in (one, other) for piece in pieces_of(open_store(store.path))]
    write_linked(str(tmp_path / "c.vgs"), both, joined_classes(both))
    assert open_store(str(tmp_path / "c.vgs")).manifest.recipe == {"tokenize": {"views": 1}}


def test_rows_of_a_linked_store_are_pieces_of_its_parts(tmp_path: Path) -> None:
    """A part of which no row is chosen is none."""
    one, other = two_stores(str(tmp_path))
    both = [*pieces_of(one), *pieces_of(other)]
    write_linked(str(tmp_path / "c.vgs"), both, joined_classes(both))
    linked = open_store(str(tmp_path / "c.vgs"))
    found = [(p.store.path, p.rows.tolist()) for p in pieces_of(linked, np.array([2, 9, 11]))]
    assert [(Path(path).name, rows) for path, rows in found] == [("a.vgs", [2, 9]), ("b.vgs", [1])]
    (piece,) = pieces_of(linked, np.array([12]))
    assert piece.rows.tolist() == [2]


def test_classes_keep_the_ids_of_the_first(tmp_path: Path) -> None:
    """Also where it knows all of them."""
    one, other = two_stores(str(tmp_path))
    both = [*pieces_of(one), *pieces_of(other)]
    assert joined_classes(both)[:3] == ANIMALS
    assert joined_classes(both[::-1])[:4] == PLANTS
    assert joined_classes([both[0], both[0]]) == ANIMALS


def test_what_cannot_be_linked_is_one_line(tmp_path: Path) -> None:
    """No rows, an unfinished store, damaged weights, classes of one name."""
    one = make_store(tmp_path / "a.vgs", 4)
    out = str(tmp_path / "c.vgs")
    with pytest.raises(StoreError, match="would have no rows"):
        write_linked(out, [Piece(one, np.empty(0, np.int64))], ANIMALS)
    with pytest.raises(StoreError, match="unfinished"):
        pieces_of(empty_store(tmp_path / "b.vgs", 4))
    twice = make_store(tmp_path / "d.vgs", 4, classes=("ant", "ant"), key="d")
    with pytest.raises(StoreError, match=r"d\.vgs cannot be merged: two classes have one name"):
        write_linked(out, [*pieces_of(one), *pieces_of(twice)], ("ant", "bee", "cat"))
    flip(tmp_path / "a.vgs" / "tokenizer.safetensors")
    with pytest.raises(StoreError, match=r"tokenizer\.safetensors is missing or damaged: repair"):
        write_linked(out, pieces_of(one), ANIMALS)
