"""Arguments that several verbs share, and names that mirror the library's without importing it."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer


class EngineName(StrEnum):
    """Mirror of the pipeline's engines, so that --help need not import them."""

    RAY = "ray"
    INLINE = "inline"


class PartName(StrEnum):
    """Mirror of the generators' names, likewise."""

    CONTENT = "content"
    STRUCTURE = "structure"


class ExportName(StrEnum):
    """Mirror of the export formats, likewise."""

    PARQUET = "parquet"
    ARROW = "arrow"
    WEBDATASET = "webdataset"


class ForeignName(StrEnum):
    """Whose weights can be imported."""

    VAR = "var"


class WeightsName(StrEnum):
    """Which weights of a run."""

    EMA = "ema"
    RAW = "raw"


RecipePath = Annotated[Path, typer.Argument(help="Recipe, for example datasets/digits.toml")]
Settings = Annotated[
    list[str] | None, typer.Option("--set", help="Override: section.key=value (repeatable)")
]
Resume = Annotated[bool, typer.Option(help="Continue what --out holds already")]
Address = Annotated[str | None, typer.Option(help="Ray cluster to join: auto, or HOST:PORT")]
DryRun = Annotated[bool, typer.Option(help="Print what would be done, and stop")]


def read_recipe(path: Path, settings: list[str] | None) -> Any:
    """The recipe with its overrides."""
    from pipeline.recipe import load_recipe

    return load_recipe(path, settings or [])
