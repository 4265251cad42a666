"""`nvgctl recipe`: every key that a recipe, a run, a store or images stand for."""

from typing import Annotated

import typer

from cli.options import Settings, require_recipe


def recipe(
    path: Annotated[
        str | None,
        typer.Argument(help="Recipe, run, store or images (default: the defaults)"),
    ] = None,
    settings: Settings = None,
) -> None:
    """Print a recipe with every key, preset and profile resolved, as TOML to use again."""
    if path:
        require_recipe(path)
    from pipeline.print_recipe import recipe_text

    typer.echo(recipe_text(path, settings or []), nl=False)
