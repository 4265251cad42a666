"""Linked stores as files: what is written, in which order, and what is refused."""

import errno
from pathlib import Path

import numpy as np
import pytest

from nvg.compose import pieces
from nvg.compose.pieces import Piece, joined_classes, pieces_of, write_linked
from nvg.errors import InputError, WorkError
from nvg.format.base import StoreError
from nvg.store import open_store
from nvg.store.lock import writer_lock
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


def test_a_merge_that_was_killed_is_done_again(tmp_path: Path) -> None:
    """What it wrote before the manifest is in nobody's way; other files are."""
    one = make_store(tmp_path / "a.vgs", 4)
    out = tmp_path / "c.vgs"
    write_linked(str(out), pieces_of(one), ANIMALS)
    whole = files_below(out)
    for gone in ([], ["index.parquet"], ["tokenizer.safetensors"]):
        for name in ("manifest.json", *gone):
            (out / name).unlink()
        (out / "index.parquet.1f.tmp").write_bytes(b"half")
        write_linked(str(out), pieces_of(one), ANIMALS)
        assert files_below(out) == whole
    (out / "manifest.json").unlink()
    (out / "notes.txt").write_text("mine")
    with pytest.raises(StoreError, match="is not empty and no store"):
        write_linked(str(out), pieces_of(one), ANIMALS)


def test_one_process_writes_a_linked_store(tmp_path: Path) -> None:
    """Two at once would mix their files; the lock is that of every writer."""
    one, out = make_store(tmp_path / "a.vgs", 4), str(tmp_path / "c.vgs")
    with writer_lock(out), pytest.raises(StoreError, match=r"c\.vgs is being written by process"):
        write_linked(out, pieces_of(one), ANIMALS)
    assert write_linked(out, pieces_of(one), ANIMALS) == 4
    assert not list(tmp_path.glob("*.lock"))


def test_a_store_that_changes_meanwhile_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The rows would be of one state of it, and the checksums of another."""
    one = make_store(tmp_path / "a.vgs", 4)
    read = pieces_of(one)
    change_manifest(one, source="1" * 64)
    with pytest.raises(StoreError, match=r"a\.vgs has changed while it was read: give the comm"):
        write_linked(str(tmp_path / "c.vgs"), read, ANIMALS)
    assert not (tmp_path / "c.vgs" / "manifest.json").exists()


@pytest.mark.parametrize("name", ["a\nb.vgs", "a\x1b[2J.vgs", "a\udcff.vgs"])
def test_a_store_whose_name_cannot_be_shown_is_no_part(name: str, tmp_path: Path) -> None:
    """In one line with the remedy: readers refuse such names."""
    one = make_store(tmp_path / name, 4)
    with pytest.raises(StoreError, match=r"cannot be named in a store .*: rename it"):
        write_linked(str(tmp_path / "c.vgs"), pieces_of(one), ANIMALS)


def test_no_store_is_linked_inside_a_store(tmp_path: Path) -> None:
    """Its own, or another."""
    one = make_store(tmp_path / "a.vgs", 4)
    with pytest.raises(InputError, match=r"sub\.vgs lies inside the store .*a\.vgs: name a place"):
        write_linked(str(tmp_path / "a.vgs" / "sub.vgs"), pieces_of(one), ANIMALS)
    assert open_store(one.path).verify() == []


def test_a_full_disk_leaves_no_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One line says what to do, and the same command then does it."""
    one, out = make_store(tmp_path / "a.vgs", 4), str(tmp_path / "c.vgs")

    def full(fs: object, path: str, data: bytes) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(pieces, "write_bytes", full)
        with pytest.raises(WorkError, match=r"c\.vgs: no space is left .* give the command again"):
            write_linked(out, pieces_of(one), ANIMALS)
    assert write_linked(out, pieces_of(one), ANIMALS) == 4
