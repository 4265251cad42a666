"""Descriptions in a store are compared with its manifest, cheaply, before anything is read."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema  # type: ignore[import-untyped]
import pyarrow as pa
import pytest

from nvg.compose.merge import merge_stores
from nvg.files import json_bytes
from nvg.format.base import StoreError
from nvg.format.manifest import Manifest
from nvg.format.schema import CODECS
from nvg.store import Store, open_store
from tests.nvg.store.makers import (
    change_manifest,
    make_plain_store,
    make_store,
    random_codec,
    rewrite_index,
)

SCHEMA = Path(__file__).parents[3] / "docs" / "store-manifest.schema.json"


@pytest.mark.parametrize(
    ("file", "changes", "said"),
    [
        ("leaves", {"shape": [11, 2, 16]}, r"shape is \[11, 2, 16\], not \[10, 2, 16\]"),
        ("leaves", {"data_type": "uint16"}, "data_type is 'uint16', not 'uint8'"),
        ("content", {"shape": [10**12, 1, 31]}, r"shape is \[1000000000000, 1, 31\], not"),
        ("label", {"fill_value": 3}, "fill_value is 3, not 0"),
        ("label", {"codecs": [{"name": "bytes"}]}, r"codecs is \['bytes'\], not"),
        ("label", {"codecs": 3}, "codecs is 3, not"),
        ("label", {"node_type": "group"}, "node_type is 'group', not 'array'"),
        ("leaves", {"chunk_grid": {}}, "chunk_grid is {}, not"),
    ],
)
def test_an_array_that_does_not_fit_is_one_line(
    store: Store, file: str, changes: dict[str, Any], said: str
) -> None:
    """File, field, what was found and what was wanted, on opening."""
    path = Path(store.path, file, "zarr.json")
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))
    with pytest.raises(StoreError, match=rf"{file}/zarr\.json: {said}") as caught:
        open_store(store.path)
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize(
    ("place", "settings"),
    [
        (1, {"a": 1}),
        (1, {"cname": "gzip"}),
        (1, {"clevel": 10}),
        (1, {"typesize": True}),
        (0, {"endian": "middle"}),
        (2, {"a": 1}),
        (1, []),
    ],
)
def test_a_codec_that_is_told_more_is_one_line(
    place: int, settings: object, tmp_path: Path
) -> None:
    """Zarr would answer in the words of its arguments."""
    path = Path(make_store(tmp_path / "a.vgs").path, "label", "zarr.json")
    table = json.loads(path.read_text())
    codecs = table["codecs"][0]["configuration"]["codecs"]
    known = codecs[place].get("configuration", {})
    codecs[place]["configuration"] = known | settings if isinstance(settings, dict) else settings
    path.write_text(json.dumps(table))
    with pytest.raises(StoreError, match=r"label/zarr\.json: codecs\.codecs is .*, not \['bytes'"):
        open_store(str(tmp_path / "a.vgs"))
    table["codecs"][0]["configuration"] |= {"codecs": [{"name": n} for n in CODECS], "odd": 1}
    path.write_text(json.dumps(table))
    with pytest.raises(StoreError, match="codecs has 'odd', which is not known"):
        open_store(str(tmp_path / "a.vgs"))


def empty_cell(table: pa.Table) -> pa.Table:
    """The key of the last row is gone."""
    keys = [*table["key"].to_pylist()[:-1], None]
    return table.set_column(1, "key", pa.array(keys, pa.string()))


def fewer_numbers(table: pa.Table) -> pa.Table:
    """One residual an image."""
    column = pa.array([[1.0]] * len(table), pa.list_(pa.float32()))
    return table.set_column(table.column_names.index("stage_error"), "stage_error", column)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda table: table.drop_columns("key"), "index.parquet has no column key"),
        (lambda table: table.set_column(0, "row", table["key"]), "row is string, not int64"),
        (empty_cell, "column key has 1 empty values"),
        (lambda table: pa.concat_tables([table, table]), "it has 20 rows, not at most 10"),
        (fewer_numbers, "stage_error must have 5 numbers"),
    ],
)
def test_an_index_that_does_not_fit_is_one_line(
    store: Store, change: Callable[[pa.Table], pa.Table], said: str
) -> None:
    """Whoever reads it is told; `verify` lists it."""
    rewrite_index(store, change(store.index))
    opened = open_store(store.path)
    with pytest.raises(StoreError, match=said):
        _ = opened.index
    assert any(said in fault for fault in opened.verify())


def test_the_json_schema_is_that_of_the_code(tmp_path: Path) -> None:
    """The same fields; stores of every kind fit it, and what the code refuses it refuses."""
    schema = json.loads(SCHEMA.read_text())
    assert schema["properties"].keys() == Manifest.__dataclass_fields__.keys() - {"unknown"}
    for store in (
        make_plain_store(tmp_path / "a.vgs", 4, val=[3]),
        make_plain_store(tmp_path / "b.vgs", 4, codec=random_codec()),
        make_store(tmp_path / "c.vgs", 4),
    ):
        table = json.loads(store.read("manifest.json"))
        jsonschema.validate(table, schema)
        wrong: tuple[dict[str, Any], ...] = (
            {"grid": 5},
            {"rows": -1},
            {"views": []},
            {"weights": {"../a": "0"}},
            {"version": 3 - table["version"]},
            {"version": 3},
        )
        for changes in wrong:
            with pytest.raises(jsonschema.ValidationError):
                jsonschema.validate(table | changes, schema)
            change_manifest(store, **changes)
            with pytest.raises(StoreError):
                open_store(store.path)


def test_the_json_schema_fits_linked_stores(tmp_path: Path) -> None:
    """Parts and format belong together, as the reader wants it."""
    schema = json.loads(SCHEMA.read_text())
    paths = [make_plain_store(tmp_path / f"{key}.vgs", 4, key=key).path for key in ("a", "b")]
    merge_stores(paths, str(tmp_path / "c.vgs"))
    table = json.loads((tmp_path / "c.vgs" / "manifest.json").read_text())
    jsonschema.validate(table, schema)
    first = table["parts"][0]
    wrong: tuple[dict[str, Any], ...] = (
        {"format": "nvg-store"},
        {"parts": []},
        {"parts": [first | {"sha256": "0"}]},
        {"parts": [first | {"rows": [1]}]},
        {"index": "0"},
    )
    for changes in wrong:
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(table | changes, schema)
        change_manifest(Store(str(tmp_path / "c.vgs")), **changes)
        with pytest.raises(StoreError):
            open_store(str(tmp_path / "c.vgs"))
        (tmp_path / "c.vgs" / "manifest.json").write_bytes(json_bytes(table))
