"""`nvgctl pack` takes its options to the work and prints what came of it."""

from pathlib import Path

from typer.testing import CliRunner

from cli.app import app
from tests.processes import ROOT


def test_a_run_is_packed(tmp_path: Path) -> None:
    """And a second time refused."""
    run = ROOT / "tests/golden/v0.1/autoencoder"
    words = ["pack", str(run), "--out", str(tmp_path / "pack"), "--licence", "CC0-1.0"]
    done = CliRunner().invoke(app, [*words, "--checkpoint", "2"])
    assert (done.exit_code, "wrote" in done.output) == (0, True), done.output
    card = (tmp_path / "pack" / "README.md").read_text()
    assert "CC0-1.0" in card
    assert "checkpoint of step 2" in card
    done = CliRunner().invoke(app, words)
    assert (done.exit_code, "exists: choose another --out" in done.output) == (2, True)
