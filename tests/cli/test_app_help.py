"""nvgctl --help: verbs and flags equal the frozen table, and help is fast."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from cli.app import app
from tests.cli.flags import FLAGS

ROOT = Path(__file__).resolve().parents[2]


def verbs(command: Any, path: str = "") -> dict[str, Any]:
    """Every verb below a group, by its full name."""
    inside = getattr(command, "commands", None)
    if inside is None:
        return {path: command}
    found: dict[str, Any] = {}
    for name, inner in inside.items():
        found |= verbs(inner, f"{path} {name}".strip())
    return found


def flags(command: Any) -> str:
    """The parameters of a verb as FLAGS writes them."""
    shown = []
    for parameter in command.params:
        names = [*parameter.opts, *parameter.secondary_opts]
        shown.append(parameter.name if parameter.param_type_name == "argument" else "/".join(names))
    return " ".join(str(name) for name in shown)


def test_no_flag_comes_or_goes_unnoticed() -> None:
    """Verbs and flags equal the frozen table."""
    found = verbs(typer.main.get_command(app))
    assert {name: flags(command) for name, command in found.items()} == FLAGS


@pytest.mark.parametrize("verb", ["", "train", *FLAGS])
def test_every_verb_has_help(verb: str) -> None:
    """--help succeeds everywhere and names the verb."""
    result = CliRunner().invoke(app, [*verb.split(), "--help"], prog_name="nvgctl")
    assert result.exit_code == 0
    assert f"nvgctl {verb}".strip() in result.stdout


def test_help_loads_nothing_heavy() -> None:
    """`python -m cli.app --help` loads neither torch nor ray."""
    code = (
        "import runpy, sys\n"
        "sys.argv = ['nvgctl', '--help']\n"
        "try:\n    runpy.run_module('cli.app', run_name='__main__')\n"
        "except SystemExit as end:\n    print('exit', end.code)\n"
        "print('loaded', *sorted({'torch', 'ray', 'zarr', 'numpy'} & set(sys.modules)))\n"
    )
    run = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert run.stdout.splitlines()[-2:] == ["exit 0", "loaded"], run.stderr


def test_the_module_is_runnable() -> None:
    """`python -m cli.app --help` in a fresh process prints the verbs and exits with 0."""
    command = [sys.executable, "-m", "cli.app", "--help"]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert (run.returncode, run.stderr) == (0, "")
    assert all(verb.split()[0] in run.stdout for verb in FLAGS)
