"""Linked stores: parts that moved, changed or lie elsewhere, and every reader of stores."""

import hashlib
import json
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch

from nvg.compose.merge import merge_stores
from nvg.compose.pieces import pieces_of, write_linked
from nvg.files import json_bytes
from nvg.format.base import StoreError
from nvg.format.manifest import Manifest
from nvg.loader import SequenceLoader
from nvg.loader.first_views import first_views
from nvg.store import Store, linked, open_store, open_writer
from nvg.store.export import ExportFormat, export_store
from nvg.view.server import Browser
from nvg.view.sheets import hierarchy_sheet
from nvg.view.summary import find_key, summarize
from nvg.view.text import store_lines
from tests.nvg.compose.makers import copied, two_stores
from tests.nvg.store.makers import flip, flip_chunk, make_plain_store, write_sealed

JOINED = ("ant", "bee", "cat", "oak", "fir")


@pytest.fixture
def merged(tmp_path: Path) -> Store:
    """Rows 0..9 of a.vgs and 0..6 of b.vgs."""
    merge_stores([store.path for store in two_stores(str(tmp_path))], str(tmp_path / "c.vgs"))
    return open_store(str(tmp_path / "c.vgs"))


def resealed(store: Store, change: dict[str, Any]) -> None:
    """Other fields of its manifest, with checksums, as one who means it would."""
    file = Path(store.path, "manifest.json")
    write_sealed(file, json.loads(file.read_text()) | change)


def test_both_can_be_moved_together(merged: Store, tmp_path: Path) -> None:
    """Parts are named from the folder of the store."""
    home = Path(merged.path).parent
    shutil.copytree(home, tmp_path / "elsewhere", ignore=shutil.ignore_patterns("elsewhere"))
    shutil.move(str(tmp_path / "a.vgs"), str(tmp_path / "gone.vgs"))
    assert open_store(str(tmp_path / "elsewhere" / "c.vgs")).verify() == []
    with pytest.raises(StoreError, match=r"cannot open its part: .*a\.vgs is not a store.* put it"):
        open_store(merged.path)


def test_a_part_that_changed_is_refused(merged: Store, tmp_path: Path) -> None:
    """By the digest of its manifest, when the linked store is opened."""
    resealed(Store(str(tmp_path / "b.vgs")), {"source": "1" * 64})
    with pytest.raises(StoreError, match=r"its part .*b\.vgs has changed since: restore it, or"):
        open_store(merged.path)


def test_damage_of_a_part_is_found_where_it_is(merged: Store, tmp_path: Path) -> None:
    """By verify and by training: chunk 2 of a.vgs is that of the linked store."""
    flip_chunk(tmp_path / "a.vgs", "leaves", 2)
    (fault,) = open_store(merged.path).verify()
    assert re.match(r"chunk 2: cannot be read: .*a\.vgs, chunk 2: ", fault)
    with pytest.raises(StoreError, match=r"chunk 2 is damaged \(.*a\.vgs, chunk 2: "):
        list(SequenceLoader(open_store(merged.path), 2))


def test_a_part_that_was_written_again_is_told_of(merged: Store, tmp_path: Path) -> None:
    """Its manifest may be the same after a repair; its commit records are not."""
    file = tmp_path / "b.vgs" / "commits" / "00000.json"
    record = json.loads(file.read_text())
    file.write_bytes(json_bytes({**record, "note": "again"}))
    (fault,) = open_store(merged.path).verify()
    assert fault.endswith("b.vgs: commit records are not those of when it was linked")


def test_its_own_index_is_checked(merged: Store) -> None:
    """A changed byte is one fault; rows with other labels, and a sum for them, are another."""
    file = Path(merged.path, "index.parquet")
    whole = file.read_bytes()
    flip(file)
    assert open_store(merged.path).verify()[0] == "index.parquet does not match its checksum"
    with pytest.raises(StoreError, match=r"index cannot be read \(index.parquet does not match"):
        SequenceLoader(open_store(merged.path), 2)
    file.write_bytes(whole)
    table = pq.read_table(file)
    split = ["val" if row == 0 else value for row, value in enumerate(table["split"].to_pylist())]
    at = table.column_names.index("split")
    pq.write_table(table.set_column(at, "split", [split]), file)
    resealed(
        merged,
        {
            "index": hashlib.sha256(file.read_bytes()).hexdigest(),
            "val_rows": merged.manifest.val_rows + 1,
        },
    )
    (fault,) = open_store(merged.path).verify()
    assert fault.startswith("chunk 0: index rows are not those of ")


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("../x/a.vgs", "names a part '../x/a.vgs' that is not below"),
        ("/etc/a.vgs", "names a part '/etc/a.vgs' that is not below"),
        ("http://localhost:1/a.vgs", "names a part 'http://localhost:1/a.vgs' that is not below"),
        ("c.vgs", "c.vgs is a linked store, which no store may have as a part"),
    ],
)
def test_a_hostile_part_is_not_opened(merged: Store, path: str, said: str) -> None:
    """Neither a place outside nor a circle; one line."""
    table = json.loads(Path(merged.path, "manifest.json").read_text())
    table["parts"][0]["path"] = path
    resealed(merged, table)
    with pytest.raises(StoreError, match=said) as caught:
        open_store(merged.path)
    assert "\n" not in str(caught.value)


def test_a_part_elsewhere_opens_by_the_users_word(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """NVG_PARTS names its folder."""
    one, other = two_stores(str(tmp_path / "data"))
    out = str(tmp_path / "mine" / "c.vgs")
    merge_stores([one.path, other.path], out)
    with pytest.raises(StoreError, match="NVG_PARTS"):
        open_store(out)
    monkeypatch.setenv("NVG_PARTS", str(tmp_path / "data"))
    assert open_store(out).verify() == []


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"parts": None}, "parts and index belong to format nvg-store-links"),
        ({"parts": []}, r"parts must name 1\.\.65536 stores, not 0"),
        ({"format": "nvg-store"}, "parts and index belong to format nvg-store-links, not nvg-st"),
        ({"index": None}, "parts and index belong"),
        ({"grid": 8, "K": 6}, "grid is not that of its part"),
        ({"classes": ["ant"]}, "class 'bee' of a part is none of its classes"),
    ],
)
def test_a_manifest_that_cannot_be_is_refused(
    merged: Store, changes: dict[str, Any], said: str
) -> None:
    """What belongs to links stands there together, and fits the parts."""
    table = json.loads(Path(merged.path, "manifest.json").read_text()) | changes
    write_sealed(
        Path(merged.path, "manifest.json"), {k: v for k, v in table.items() if v is not None}
    )
    with pytest.raises(StoreError, match=said):
        open_store(merged.path)


def test_rows_that_are_not_the_parts_are_refused(merged: Store) -> None:
    """Ranges that do not meet; more rows than a part has."""
    table = json.loads(Path(merged.path, "manifest.json").read_text())
    table["parts"][1]["rows"] = [11, 17]
    resealed(merged, table)
    assert "the rows of its parts are not 0..16 in order" in open_store(merged.path).verify()[0]


def test_it_is_read_and_not_written(merged: Store) -> None:
    """Its manifest says what it is; a writer is refused."""
    assert Manifest.from_bytes(merged.manifest.to_bytes(), "c") == merged.manifest
    with pytest.raises(StoreError, match="shows rows of other stores and has none of its own"):
        open_writer(merged.path)


@pytest.mark.thorough
def test_every_reader_works_as_on_a_copy(merged: Store, tmp_path: Path) -> None:
    """Export, keys, first views, summary, sheet: those of the store that holds the rows itself."""
    stores = [open_store(str(tmp_path / name)) for name in ("a.vgs", "b.vgs")]
    rows = [(store, row) for store in stores for row in range(len(store))]
    copy = copied(str(tmp_path / "d.vgs"), rows, JOINED)
    for name, store in (("one", merged), ("two", copy)):
        export_store(store, ExportFormat.PARQUET, tmp_path / name)
    assert pq.read_table(tmp_path / "one").equals(pq.read_table(tmp_path / "two"))
    assert find_key(merged, "plant-2") == 12
    good = merged.ok_rows(None)
    for found, wanted in zip(
        *(first_views(s, good, 4, torch.device("cpu")) for s in (merged, copy)), strict=True
    ):
        assert torch.equal(found.leaves, wanted.leaves)
        assert torch.equal(found.label, wanted.label)
    for found_, wanted_ in zip(
        merged.row_tokens([12, 3, 12]), copy.row_tokens([12, 3, 12]), strict=True
    ):
        assert np.array_equal(found_, wanted_)
    assert summarize(merged).stages == summarize(copy).stages
    assert summarize(merged).parts == ["a.vgs (10 rows)", "b.vgs (7 rows)"]
    assert "rows of     b.vgs (7 rows)" in store_lines(merged)
    query = {"stage": "1", "code": "3"}
    assert Browser(merged).rows_with_code(query) == Browser(copy).rows_with_code(query) != []
    assert hierarchy_sheet(merged, [0, 12], {}) == hierarchy_sheet(copy, [0, 12], {})


def test_a_subset_of_one_part_has_fewer_chunks(tmp_path: Path) -> None:
    """A chunk of which no row is shown is no chunk, so that it is never read."""
    store = make_plain_store(tmp_path / "a.vgs", 12)
    write_linked(str(tmp_path / "c.vgs"), pieces_of(store, np.array([1, 8, 9])), JOINED[:3])
    chosen = open_store(str(tmp_path / "c.vgs"))
    assert (chosen.chunks, chosen.committed()) == (2, [0, 1])
    assert [chosen.chunk_slice(n) for n in range(2)] == [slice(0, 1), slice(1, 3)]
    assert [chosen.commit_record(n).chunk for n in range(2)] == [0, 2]
    assert chosen.verify() == []


def test_a_folder_may_have_any_name(tmp_path: Path) -> None:
    """Also one that is no UTF-8, which Arrow's own names of files must be."""
    home = tmp_path / "a:b \udcff#?[x]"
    home.mkdir()
    stores = [store.path for store in two_stores(str(home))]
    merge_stores(stores, str(home / "c.vgs"))
    linked = open_store(str(home / "c.vgs"))
    assert (len(linked.index), linked.verify()) == (17, [])


@pytest.mark.thorough
def test_a_store_that_many_parts_name_is_opened_once(
    merged: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A manifest of 100,000 parts would open one store as often; so many are refused."""
    part = json.loads(Path(merged.path, "manifest.json").read_text())["parts"]
    opened: list[str] = []
    plain = linked._plain_store

    def counted(path: str) -> Store:
        opened.append(path)
        return plain(path)

    monkeypatch.setattr(linked, "_plain_store", counted)
    none = [part[0] | {"rows": [0, 0]}] * 500
    resealed(merged, {"parts": [*none, *part]})
    assert open_store(merged.path).verify() == []
    assert len(opened) == 2
    resealed(merged, {"parts": none * 200})
    with pytest.raises(StoreError, match=r"parts must name 1\.\.65536 stores, not 100000"):
        open_store(merged.path)
