"""`nvgctl inspect` in a pipe and as JSON."""

import io
import json
from pathlib import Path

import pyarrow as pa
import pytest
from rich.console import Console

from nvg.compose.merge import merge_stores
from nvg.store import Store, open_store
from nvg.view.terminal import row_view
from nvg.view.text import row_lines
from pipeline.inspect import print_duplicates, print_store
from tests.nvg.store.makers import make_store, rewrite_index


def test_a_pipe_gets_plain_lines(store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    """A pipe gets `row_lines` as plain text."""
    print_store(store, 1, as_json=False)
    assert capsys.readouterr().out.splitlines() == row_lines(store, 1)
    print_store(store, None, as_json=False)
    assert "\x1b" not in capsys.readouterr().out


def test_a_program_gets_json(store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    """Leaves and tokens of a row, the reason of an error row, the summary of a store."""
    print_store(store, 1, as_json=True)
    found = json.loads(capsys.readouterr().out)
    assert found["leaves"] == store.leaves[1].tolist()
    assert found["content"] == store.content[1].tolist()
    print_store(store, 3, as_json=True)
    found = json.loads(capsys.readouterr().out)
    assert found["reason"] == "not an image"
    assert "leaves" not in found
    print_store(store, None, as_json=True)
    assert json.loads(capsys.readouterr().out)["rows"] == 10


def test_duplicates_are_lines_or_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Counts by stage, then groups with their keys."""
    paths = [make_store(tmp_path / f"{key}.vgs", 5, key=key).path for key in ("a", "b")]
    merge_stores(paths, str(tmp_path / "c.vgs"))
    store = open_store(str(tmp_path / "c.vgs"))
    print_duplicates(store, None, as_json=False)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].endswith("10 tokenized rows, first view, equal tokens and structure")
    assert ["0..4", "5", "10"] in [line.split() for line in lines]
    assert "2 rows: 1 'a-1', 6 'b-1'" in lines
    print_duplicates(store, 2, as_json=True)
    found = json.loads(capsys.readouterr().out)
    assert found["counts"][2] == {"stage": 2, "groups": 5, "rows": 10}
    assert [{"row": 1, "key": "a-1"}, {"row": 6, "key": "b-1"}] in found["groups"]


def test_a_screen_names_the_first_groups(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """And says how many it leaves out."""
    monkeypatch.setattr("pipeline.inspect.MOST_GROUPS", 1)
    monkeypatch.setattr("pipeline.inspect.MOST_KEYS", 1)
    paths = [make_store(tmp_path / f"{key}.vgs", 3, key=key).path for key in ("a", "b")]
    merge_stores(paths, str(tmp_path / "c.vgs"))
    print_duplicates(open_store(str(tmp_path / "c.vgs")), None, as_json=False)
    lines = capsys.readouterr().out.splitlines()
    assert lines[-2:] == ["2 rows: 0 'a-0', 1 more", "2 more groups: --json has all"]


def test_names_steer_no_terminal(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A key may hold escape sequences and line ends: they are shown, not sent."""
    store = make_store(tmp_path / "a.vgs", 10, classes=("a\x1b[31m", "b\nc"))
    entries = [{**entry, "key": f"\x1b[2J{entry['row']}"} for entry in store.index.to_pylist()]
    rewrite_index(store, pa.Table.from_pylist(entries, store.index.schema))
    odd = open_store(store.path)
    print_store(odd, 1, as_json=False)
    shown = capsys.readouterr().out
    assert shown.startswith(r"row 1: \x1b[2J1, class ")
    console = Console(file=io.StringIO(), force_terminal=False, width=120)
    console.print(row_view(odd, odd.entry(1)))
    shown += console.file.getvalue()  # type: ignore[attr-defined]
    assert "\x1b" not in shown
    assert r"\x1b[2J1" in console.file.getvalue()  # type: ignore[attr-defined]
