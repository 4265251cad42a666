"""The inspecting verb: what a pipe and a program get, and where originals come from."""

import json

import pytest

from nvg.store import Store
from nvg.view.text import row_lines
from pipeline.inspect import look


def test_a_pipe_gets_plain_lines(store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    """Of a row what row_lines says; nothing but text."""
    look(store, 1, as_json=False)
    assert capsys.readouterr().out.splitlines() == row_lines(store, 1)
    look(store, None, as_json=False)
    assert "\x1b" not in capsys.readouterr().out


def test_a_program_gets_json(store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    """Leaves and tokens of a valid row, the reason of a bad one, the summary of a store."""
    look(store, 1, as_json=True)
    found = json.loads(capsys.readouterr().out)
    assert found["leaves"] == store.leaves[1].tolist()
    assert found["content"] == store.content[1].tolist()
    look(store, 3, as_json=True)
    found = json.loads(capsys.readouterr().out)
    assert found["reason"] == "not an image"
    assert "leaves" not in found
    look(store, None, as_json=True)
    assert json.loads(capsys.readouterr().out)["rows"] == 10
