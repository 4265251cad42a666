"""`nvgctl studio`: its options reach the server; what cannot be served is one line."""

from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from cli.app import app
from pipeline.studio.models import StudioOptions


def test_options_reach_the_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All of them; what is not there is told first."""
    monkeypatch.chdir(tmp_path)
    assert "run does not exist" in CliRunner().invoke(app, ["studio", "run"]).output
    Path("run").mkdir()
    Path("t").mkdir()
    called: list[Any] = []
    monkeypatch.setattr("pipeline.studio.serve.serve_studio", lambda *given: called.append(given))
    flags = "--store a.vgs --tokenizer t --weights raw --device cpu --host 0.0.0.0 --port 7 --open"
    done = CliRunner().invoke(app, ["studio", "run", *flags.split(), "--trust"])
    assert done.exit_code == 0, done.output
    options = StudioOptions(
        run=Path("run"),
        store="a.vgs",
        tokenizer=Path("t"),
        weights="raw",
        device="cpu",
        trust=True,
    )
    assert called == [(options, "0.0.0.0", 7, True)]


def test_no_run_is_one_line(tmp_path: Path) -> None:
    """Exit code 2."""
    done = CliRunner().invoke(app, ["studio", str(tmp_path), "--port", "0"])
    assert done.exit_code == 2
    assert "holds no content.safetensors" in done.output
    assert len(done.output.strip().splitlines()) == 1
