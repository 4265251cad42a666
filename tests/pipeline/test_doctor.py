"""What the doctor says of machine, disk, environment and weights files."""

import json
from importlib.metadata import version
from pathlib import Path

import pytest
from typer.testing import CliRunner

from cli.app import app
from nvg import __version__
from pipeline import doctor

RECIPE = """
[autoencoder.model]
image_size = 16
multipliers = [1, 1]
[autoencoder.train.loss]
perceptual = 1.0
vgg = "{vgg}"
"""


@pytest.fixture(autouse=True)
def small_file(monkeypatch: pytest.MonkeyPatch) -> None:
    """One MiB is written instead of 64."""
    monkeypatch.setattr(doctor, "WRITTEN", 1 << 20)


def run(*words: object) -> tuple[int, str]:
    """Exit code and output of the verb."""
    done = CliRunner().invoke(app, ["doctor", *map(str, words)])
    return done.exit_code, done.output


def test_one_screen_and_the_same_as_json(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Versions are those that are installed; nothing is left in the folder."""
    monkeypatch.setenv("WORLD_SIZE", "2")
    code, text = run("--path", tmp_path)
    assert code == 0, text
    assert f"  torch{' ' * 12}{version('torch')}\n" in text
    code, text = run("--path", tmp_path, "--json")
    found = json.loads(text)
    assert code == 0
    assert found["nvg"]["version"] == __version__
    assert found["image formats"]["jpg"] == "yes"
    assert found["environment"]["WORLD_SIZE"] == "2"
    assert found["write speed"][str(tmp_path)].endswith("MiB/s")
    assert not list(tmp_path.iterdir())
    assert doctor._version("no-such-library") == doctor.NONE


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "missing"),
        (b"version https://git-lfs.github.com/spec/v1\n", "a Git LFS pointer"),
        (b"<!doctype html>", "a web page"),
        (b"", "an empty file"),
        (b"PK\x03\x04", "cut short, an archive without its end"),
        (b"PK\x05\x06" + bytes(18), "0.00 GiB"),
    ],
)
def test_weights_files_of_a_recipe(tmp_path: Path, content: bytes | None, words: str) -> None:
    """Those that are not there, or are something else, are named by key."""
    file = tmp_path / "vgg.pth"
    if content is not None:
        file.write_bytes(content)
    (tmp_path / "a.toml").write_text(RECIPE.format(vgg=file))
    code, text = run("--recipe", tmp_path / "a.toml", "--path", tmp_path)
    assert code == 0, text
    (line,) = [line for line in text.splitlines() if "vgg.pth" in line]
    assert "autoencoder.train.loss.vgg" in line
    assert words in line
