"""`nvgctl doctor`: what it refuses."""

from pathlib import Path

from typer.testing import CliRunner

from cli.app import app


def test_places_and_recipes_that_are_not_there_are_refused(tmp_path: Path) -> None:
    """One line, exit code 2."""
    for words, said in (
        (("--path", f"{tmp_path}/none"), "none is no folder: name one that is there with --path"),
        (("--recipe", f"{tmp_path}/a.toml"), "cannot read recipe"),
    ):
        done = CliRunner().invoke(app, ["doctor", *words])
        assert (done.exit_code, done.stderr.count("\n")) == (2, 1)
        assert said in done.stderr
