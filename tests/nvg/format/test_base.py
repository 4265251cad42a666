"""docs/FORMAT.md is true: its lines run, with plain libraries, and give what the library gives."""

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
import zarr

from nvg.compose.merge import merge_stores
from nvg.format.base import INDEX_SCHEMA, SPLIT, file_schema
from nvg.geometry import bit_embedding, labels
from nvg.store import open_store
from tests.doc_rules import blocks
from tests.nvg.store.makers import make_plain_store, make_store

DOCUMENT = Path(__file__).resolve().parents[3] / "docs" / "FORMAT.md"


def reader_lines() -> str:
    """The first Python block of the document."""
    return blocks(DOCUMENT.read_text(), "python")[0]


def test_reader_is_at_most_ten_lines_and_needs_no_code_of_ours() -> None:
    """A stranger reads the store in ten lines of zarr, pyarrow and json."""
    lines = [line for line in reader_lines().splitlines() if line.strip()]
    assert len(lines) <= 10
    assert "nvg" not in re.sub(r'"[^"]*"', "", reader_lines())


def test_reader_lines_give_what_the_library_gives(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Structure map, bit embedding and tokens as unpacked by the document equal the library's."""
    make_store(str(tmp_path / "digits.vgs"), rows=5, views=1)
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    exec(reader_lines(), names)
    store = open_store(str(tmp_path / "digits.vgs"))
    K, stage = store.geometry.K, 2
    leaves = store.leaves[0, 0]
    expected = labels(leaves, stage, K).reshape(store.geometry.grid, -1)
    np.testing.assert_array_equal(np.asarray(names["structure_map"]), expected)
    bits = bit_embedding(torch.from_numpy(leaves.astype(np.int64)), K, K)
    np.testing.assert_array_equal(np.asarray(names["bit_embedding"]), bits.numpy())
    tokens = store.content[0, 0][store.geometry.stage_slice(stage)]
    np.testing.assert_array_equal(np.asarray(names["tokens"]), tokens)
    assert str(store.index["key"][0]) in capsys.readouterr().out


def test_the_lines_for_a_linked_store_give_a_row(tmp_path: Path) -> None:
    """From where the first lines left off, with the manifest and index of the linked store."""
    paths = [make_plain_store(tmp_path / f"{key}.vgs", 5, key=key).path for key in ("a", "b")]
    merge_stores(paths, str(tmp_path / "c.vgs"))
    store = open_store(str(tmp_path / "c.vgs"))
    names: dict[str, Any] = {
        "manifest": json.loads(store.read("manifest.json")),
        "index": pq.read_table(tmp_path / "c.vgs" / "index.parquet").to_pylist(),
        **{"folder": tmp_path, "zarr": zarr, "row": 7, "view": 0},
    }
    exec(blocks(DOCUMENT.read_text(), "python")[1], names)
    for name in ("leaves", "content"):
        np.testing.assert_array_equal(names[name], store.group[name][7, 0])


def test_an_index_file_has_splits_only_where_rows_are_held_out() -> None:
    """Of all columns it alone is optional."""
    assert file_schema(1) == INDEX_SCHEMA
    assert [*file_schema(0).names, SPLIT] == INDEX_SCHEMA.names
