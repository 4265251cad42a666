"""Commit records: strict, and with the manifest's checksums proof against a flipped bit."""

import json
import random
import shutil
import uuid
from pathlib import Path
from typing import Any

import pytest

from nvg.errors import InputError
from nvg.format.index import rows_digest
from nvg.format.record import CommitRecord
from nvg.store import Store, open_store
from tests.nvg.store.makers import make_plain_store

GOLDEN = Path(__file__).parents[2] / "golden" / "v0.1" / "tokens.vgs"
FLIPS = 150  # of each file


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"chunk": 2}, "chunk must be 1, not 2"),
        ({"chunk": "1"}, "chunk must be of type int"),
        ({"rows": [0, 4]}, r"rows must be \[4, 8\], not \[0, 4\]"),
        ({"rows": [4]}, r"rows must be \[first, end\]"),
        ({"rows": None}, "missing key rows"),
        ({"errors": 5}, r"errors must be 0\.\.4"),
        ({"errors": -1}, r"errors must be 0\.\.4"),
        ({"sha256": {}}, "sha256.leaves is missing"),
        ({"sha256": {"leaves": "0"}}, "sha256.leaves must be 64 hex"),
        ({"sha256": dict.fromkeys(("leaves", "content", "label", "no"), "0" * 64)}, "sha256.no is"),
        ({"sha256": []}, "sha256 must be of type dict"),
    ],
)
def test_a_record_that_does_not_fit_is_one_line(
    store: Store, changes: dict[str, Any], named: str
) -> None:
    """File, field, what was found and what was wanted; `verify` says it too."""
    file = Path(store.path, "commits", "00001.json")
    table = json.loads(file.read_text()) | changes
    file.write_text(json.dumps({key: value for key, value in table.items() if value is not None}))
    with pytest.raises(ValueError, match=f"^commits/00001.json: {named}"):
        store.commit_record(1)
    assert any("commits/00001.json: " in fault for fault in open_store(store.path).verify())


@pytest.mark.parametrize("text", ["{}", "[]", "1", "", "{", "[" * 100_000])
def test_a_record_that_is_none(text: str) -> None:
    """Whatever stands there, the error names the file."""
    with pytest.raises(ValueError, match=r"^commits/00000\.json: "):
        CommitRecord.from_bytes(text.encode(), 0, slice(0, 4), ("leaves",))


def test_a_field_of_a_later_version_is_left_aside(store: Store) -> None:
    """It does not hinder reading."""
    data = json.dumps(json.loads(store.read("commits/00001.json")) | {"seconds": 3}).encode()
    record = CommitRecord.from_bytes(data, 1, slice(4, 8), store.arrays)
    assert record == store.commit_record(1)


def test_stray_files_are_no_records(store: Store) -> None:
    """What copying tools and editors leave beside them hinders nothing."""
    folder = Path(store.path, "commits")
    for name in ("._00000.json", "00000.json~", ".DS_Store", "00000 (1).json", "x.json"):
        (folder / name).write_bytes(b"\0\5\26\7")
    opened = open_store(store.path)
    assert (opened.committed(), opened.verify()) == ([0, 1, 2], [])


@pytest.mark.thorough
@pytest.mark.parametrize("name", ["index.parquet", "manifest.json", "commits/00000.json"])
def test_a_flipped_bit_is_never_taken_for_sound(name: str) -> None:
    """It is refused or a fault of `verify`, unless every value reads as before."""
    store = make_plain_store(f"memory://{uuid.uuid4()}/a.vgs", 10, 2, bad=[2], val=[7, 8, 9])
    intact = store.read(name)
    manifest, index = store.manifest, store.index
    records = [store.commit_record(chunk) for chunk in range(3)]
    at, noticed = random.Random(0), 0
    for _ in range(FLIPS):
        bit, damaged = at.randrange(8 * len(intact)), bytearray(intact)
        damaged[bit // 8] ^= 1 << bit % 8
        store.fs.pipe_file(f"{store.root}/{name}", bytes(damaged))
        faults, opened = opened_faults(store.path)
        if faults or opened is None:
            assert all(len(fault.splitlines()) == 1 for fault in faults)
            noticed += 1
            continue
        assert opened.manifest == manifest
        assert rows_digest(opened.index) == rows_digest(index)
        assert [opened.commit_record(chunk) for chunk in range(3)] == records
    assert noticed > FLIPS // 3


def opened_faults(path: str) -> tuple[list[str], Store | None]:
    """What `nvgctl verify` says, and the store, where it opens."""
    try:
        store = open_store(path)
        return store.verify(), store
    except InputError as error:
        return [str(error)], None


def test_checksums_that_are_lost_are_missed(store: Store) -> None:
    """A manifest without them beside records that have theirs was not written so."""
    file = Path(store.path, "manifest.json")
    table = json.loads(file.read_text())
    del table["sha256"]
    file.write_text(json.dumps(table))
    assert open_store(store.path).verify() == ["manifest.json has lost the checksums of its fields"]


def test_a_store_from_before_there_were_checksums(tmp_path: Path) -> None:
    """It opens and verifies; its manifest and records have none."""
    shutil.copytree(GOLDEN, tmp_path / "a.vgs")
    store = open_store(str(tmp_path / "a.vgs"))
    assert store.manifest.sha256 is None
    assert "index" not in store.commit_record(0).sha256
    assert store.verify() == []
