"""`nvgctl doctor`: what this machine has, to paste into a report."""

import json
from pathlib import Path
from typing import Annotated

import typer

from cli.options import read_recipe


def doctor(
    recipe: Annotated[
        Path | None, typer.Option(help="Recipe whose files of weights are looked for")
    ] = None,
    path: Annotated[Path, typer.Option(help="Folder whose write speed is measured")] = Path(),
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON")] = False,
) -> None:
    """Show versions, devices, memory, formats and write speed: the start of a report."""
    from pipeline.doctor import examine, lines

    found = examine(read_recipe(recipe, None) if recipe else None, path)
    typer.echo(json.dumps(found, indent=1) if as_json else "\n".join(lines(found)))
