"""Originals of `inspect` and `view` are the user's word."""

from pathlib import Path

import pytest
from PIL import Image, ImageChops
from typer.testing import CliRunner, Result

from cli.app import app
from tests.pipeline.tokenize.makers import photos, run


def nvgctl(*arguments: object) -> Result:
    """One call, in this process."""
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


@pytest.fixture
def folder(tokenizer: Path, tmp_path: Path) -> Path:
    """A store and its images, whose place the store names."""
    run(photos(tmp_path / "images"), tokenizer, tmp_path / "a.vgs")
    return tmp_path


def test_a_sheet_has_originals_where_the_user_says(folder: Path) -> None:
    """Without --originals the place for them is empty, and a line says how to fill it."""
    store, images = folder / "a.vgs", folder / "images"
    done = nvgctl("inspect", store, "--row", 0, "--png", folder / "without.png")
    assert done.exit_code == 0
    assert f"say with --originals where they are (its recipe said '{images}')" in done.stderr
    done = nvgctl("inspect", store, "--row", 0, "--png", folder / "with.png", "--originals", images)
    assert done.exit_code == 0, done.output
    with Image.open(folder / "without.png") as one, Image.open(folder / "with.png") as other:
        assert ImageChops.difference(one.convert("RGB"), other.convert("RGB")).getbbox()


def test_originals_need_a_picture_and_a_place(folder: Path) -> None:
    """One line and exit code 2."""
    store = folder / "a.vgs"
    for arguments, said in (
        (("inspect", store, "--originals", folder), "--originals needs --png or --html"),
        (
            ("inspect", store, "--html", folder / "a.html", "--originals", folder / "no"),
            "does not exist",
        ),
        (("view", store, "--originals", folder / "no"), "does not exist"),
    ):
        done = nvgctl(*arguments)
        assert done.exit_code == 2
        assert said in done.stderr
        assert done.stderr.count("\n") == 1
