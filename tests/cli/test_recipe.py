"""`nvgctl recipe`."""

import tomllib
from pathlib import Path

from typer.testing import CliRunner

from cli.app import app


def test_it_prints_toml() -> None:
    """Of the defaults, with what is set; a file that is not there ends in one line."""
    run = CliRunner().invoke(app, ["recipe", "--set", "sample.top_p=0.9"])
    assert run.exit_code == 0
    table = tomllib.loads(run.stdout)
    assert table["sample"]["top_p"] == 0.9
    assert table["autoencoder"]["model"]["image_size"] == 256
    run = CliRunner().invoke(app, ["recipe", str(Path("none.toml"))])
    assert (run.exit_code, run.stdout) == (2, "")
    assert run.stderr == "nvgctl: cannot read recipe none.toml: No such file or directory\n"
