"""`nvgctl inspect` in a pipe and as JSON."""

import json

import pytest

from nvg.store import Store
from nvg.view.text import row_lines
from pipeline.inspect import print_store


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
