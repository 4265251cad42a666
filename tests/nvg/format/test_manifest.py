"""The manifest: read strictly, written back byte for byte, and a clear error for any damage."""

import json
from pathlib import Path
from typing import Any

import pytest

from nvg.files import json_bytes
from nvg.format.base import StoreError
from nvg.format.manifest import FeatureInfo, Manifest
from nvg.store import Store, open_store
from tests.nvg.store.makers import make_store, random_codec

GOLDEN = Path(__file__).parents[2] / "golden" / "v0.1" / "tokens.vgs"


def test_a_manifest_is_written_back_byte_for_byte() -> None:
    """The file that version 0.1 wrote; the optional fields it lacks stay away."""
    data = (GOLDEN / "manifest.json").read_bytes()
    manifest = Manifest.from_bytes(data, "tokens.vgs")
    assert manifest.to_bytes() == data
    assert (manifest.order, manifest.features) == (None, None)
    assert manifest.views == ("center", "flip")


def test_a_manifest_says_which_features_are_kept(tmp_path: Path) -> None:
    """As a record of its own, back from the file."""
    store = open_store(make_store(tmp_path / "a.vgs", 4, codec=random_codec()).path)
    wanted = FeatureInfo(model="none", sha256="0" * 64, dims=3, width=12, kept=1.0)
    assert store.manifest.features == wanted
    assert store.manifest.to_bytes() == store.read("manifest.json")


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"rows": None}, "rows"),
        ({"rows": "10"}, "rows must be of type int, not '10'"),
        ({"finished": 1}, "finished must be of type bool"),
        ({"views": "center"}, "views must be of type list"),
        ({"classes": [1]}, "classes"),
        ({"weights": []}, "weights must be of type dict"),
        ({"features": {"model": "x"}}, "features.sha256"),
        ({"weights": None}, "missing key weights"),
        ({"finished": None}, "missing key finished"),
        ({"weights": {"a": 1}}, "weights must be SHA-256 sums"),
        ({"weights": {"../a": "0"}}, "weights name '../a', which is no file of a store"),
        ({"weights": {"/etc/a": "0"}}, "weights name '/etc/a'"),
        ({"weights": {"..": "0"}}, "weights name '..'"),
        ({"weights": {"a\n": "0"}}, "weights name"),
        ({"chunk_rows": 0}, "chunk_rows must be at least 1"),
        ({"rows": -1}, "-1 rows"),
        ({"views": []}, "0 views"),
        ({"val_rows": 11}, "val_rows 11 must be 0..10"),
        ({"val_rows": -1}, "val_rows -1 must be 0..10"),
        ({"val_rows": True}, "val_rows must be of type int"),
        ({"grid": 5}, "grid must be a power of two"),
        ({"K": 5}, "K must be 4 for grid 4"),
    ],
)
def test_a_damaged_manifest_is_one_clear_line(
    store: Store, changes: dict[str, Any], named: str
) -> None:
    """The store, the field that is missing or wrong, and what to do."""
    file = Path(store.path, "manifest.json")
    table = json.loads(file.read_text()) | changes
    file.write_text(json.dumps({key: value for key, value in table.items() if value is not None}))
    with pytest.raises(StoreError) as caught:
        open_store(store.path)
    message = str(caught.value)
    assert message.startswith(f"{store.path} has a damaged manifest.json (")
    assert named in message
    assert message.endswith("restore it from a copy, or tokenize again")
    assert len(message.splitlines()) == 1


def test_unknown_fields_are_kept(store: Store) -> None:
    """A user's note, or a field of a later version: it opens, and is written back as it was."""
    file = Path(store.path, "manifest.json")
    file.write_bytes(json_bytes(json.loads(file.read_text()) | {"licence": "CC0", "sizes": [1, 2]}))
    opened = open_store(store.path)
    assert opened.manifest.unknown == {"licence": "CC0", "sizes": [1, 2]}
    assert opened.manifest.to_bytes() == file.read_bytes()
    assert opened.verify() == []


def test_differences_name_what_makes_another_store(store: Store, tmp_path: Path) -> None:
    """Progress, versions and weights do not; the fields given as `besides` are left out."""
    other = make_store(tmp_path / "b.vgs", len(store) + 1, views=2, chunk_rows=8).manifest
    assert other.differences(store.manifest) == ["rows", "chunk_rows"]
    assert other.differences(store.manifest, besides=["rows"]) == ["chunk_rows"]


def test_held_out_rows_are_counted_where_there_are_some(tmp_path: Path) -> None:
    """A store without any has the manifest that it had before there were splits."""
    made = make_store(tmp_path / "a.vgs", 10, val=(8, 9)).manifest
    table = json.loads(made.to_bytes())
    assert table["val_rows"] == 2
    assert Manifest.from_bytes(made.to_bytes(), "a.vgs") == made
    other = make_store(tmp_path / "b.vgs", 10).manifest
    assert json.loads(other.to_bytes()).keys() == table.keys() - {"val_rows"}
    assert made.differences(other) == ["val_rows"]
