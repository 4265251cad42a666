"""Options that are numbers: NaN, infinity and -1 are one line and exit 2, in every verb."""

import re
from pathlib import Path
from typing import get_args, get_type_hints

import pytest
import typer
from typer.testing import CliRunner

from cli.app import app

GOLDEN = Path(__file__).resolve().parents[2] / "tests/golden/v0.1"
LINES = {  # of a verb with such options: what else it needs; {} is the golden folder
    "sample": "sample {}/generator -n 1 --label ant",
    "subset": "subset {}/tokens.vgs --out new.vgs",
    "train autoencoder": "train autoencoder {}/recipe.toml --out new --dry-run",
    "train generator": "train generator {}/recipe.toml --store {}/tokens.vgs --out new --dry-run",
}


def number_options(group: typer.Typer, path: str = "") -> dict[str, list[str]]:
    """The verbs of a group that take a real number as the value of an option, and which."""
    found: dict[str, list[str]] = {}
    for inner in group.registered_groups:
        assert inner.typer_instance
        found |= number_options(inner.typer_instance, f"{inner.name} ")
    for verb in group.registered_commands:
        assert verb.callback
        hints = get_type_hints(verb.callback)
        own = [name for name, hint in hints.items() if float in (hint, *get_args(hint))]
        if own:
            name = verb.name or verb.callback.__name__
            found[path + name] = [f"--{each.replace('_', '-')}" for each in own]
    return found


OPTIONS = number_options(app)


def test_every_verb_with_numbers_is_tried() -> None:
    """A new one needs its line here."""
    assert set(OPTIONS) == set(LINES)


@pytest.mark.parametrize(
    ("verb", "value"),
    [
        (verb, value)
        for verb in LINES
        for value in ("nan", "inf", "-inf", "-1")
        if (verb, value) != ("subset", "-1")  # an error is above it: all rows are meant
    ],
)
def test_a_number_that_cannot_be_meant_is_one_line(
    verb: str, value: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It names the option or its key, before any work; nothing is written."""
    monkeypatch.chdir(tmp_path)
    for option in OPTIONS[verb]:
        arguments = LINES[verb].replace("{}", str(GOLDEN)).split()
        done = CliRunner().invoke(app, [*arguments, option, value])
        assert done.exit_code == 2, done.output
        assert re.search("must (be|not)|should be greater", done.output), done.output
        assert "Traceback" not in done.output
        assert list(tmp_path.iterdir()) == []
