"""Arguments that several verbs share, and names that mirror the library's without importing it."""

from dataclasses import fields
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

Options = TypeVar("Options", bound="DataclassInstance")


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


def by_name(kind: type[Options], given: dict[str, Any]) -> Options:
    """The dataclass `kind`, from the options of a verb that bear the names of its fields."""
    return kind(**{field.name: given[field.name] for field in fields(kind)})


def read_recipe(path: Path, settings: list[str] | None) -> Any:
    """The recipe with its overrides."""
    from pipeline.recipe import load_recipe

    return load_recipe(path, settings or [])
