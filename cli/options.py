"""Arguments shared by several verbs, and enums that mirror the library's without importing it."""

import os
import sys
from dataclasses import fields
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from nvg.errors import InputError
from nvg.files import is_url, local_place, require_writable
from nvg.sampling.config import Compile

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

Options = TypeVar("Options", bound="DataclassInstance")


RUN, TOKENIZER = "a run directory of generators", "an autoencoder run or its weights file"


class EngineName(StrEnum):
    """Mirror of `pipeline.tokenize.engine.Engine`, so that --help need not import it."""

    RAY = "ray"
    INLINE = "inline"


class PartName(StrEnum):
    """Mirror of the names of the generators."""

    CONTENT = "content"
    STRUCTURE = "structure"


class ExportName(StrEnum):
    """Mirror of `nvg.store.export.ExportFormat`."""

    PARQUET = "parquet"
    ARROW = "arrow"
    WEBDATASET = "webdataset"


class ForeignName(StrEnum):
    """Projects whose weights can be imported."""

    VAR = "var"
    NVG = "nvg"


class WeightsName(StrEnum):
    """Weights of a run: EMA or last ones of the last step, EMA of the lowest held-out loss."""

    EMA = "ema"
    RAW = "raw"
    BEST = "best"


class SplitName(StrEnum):
    """Mirror of `nvg.store.Split`."""

    TRAIN = "train"
    VAL = "val"


RecipePath = Annotated[Path, typer.Argument(help="Recipe, for example datasets/digits.toml")]
DataPath = Annotated[
    str,
    typer.Argument(
        help="Recipe (.toml), or images: a folder, Parquet, Arrow, tar, CSV or JSONL, path or URL"
    ),
]
Views = Annotated[
    str | None, typer.Option(help="Stored views, for example center,flip or random-crop*8")
]
Weights = Annotated[WeightsName, typer.Option(help="EMA, last, or EMA of the lowest held-out loss")]
Report = Annotated[Path | None, typer.Option(help="Folder for the report (default: run)")]
Most = Annotated[int | None, typer.Option("-n", min=1, help="At most N images")]
Heldout = Annotated[
    str | None, typer.Option(help="Images to hold out for measuring: a number, or 5%")
]
LabelColumn = Annotated[str | None, typer.Option(help="Column of labels in a table or list")]
Settings = Annotated[
    list[str] | None,
    typer.Option("--set", help="Override a recipe key: section.key=value (repeatable)"),
]
BatchSize = Annotated[int, typer.Option(min=1, help="Images sampled at once")]
Compiling = Annotated[
    Compile,
    typer.Option(
        "--compile",
        help="Compile networks; CUDA graphs on a GPU; auto: graphs, and compile for many images",
    ),
]
Resume = Annotated[bool, typer.Option("--resume", help="Continue the work in --out")]
Workers = Annotated[
    int | None, typer.Option(min=1, help="Share the work out over N processes of a Ray cluster")
]
Address = Annotated[str | None, typer.Option(help="Ray cluster to join: auto or HOST:PORT")]
Memory = Annotated[
    float | None,
    typer.Option(min=0, help="With --dry-run: GiB of the GPU to plan for, else of the one here"),
]
Trust = Annotated[
    bool,
    typer.Option("--trust", help="Run a structure builder, MODULE:FUNCTION, that a file names"),
]
OriginalsPlace = Annotated[
    str | None,
    typer.Option(
        "--originals", help="Source of the images, to show them: read only there and below"
    ),
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Print the plan and stop")]


def confirmed(question: str) -> bool:
    """The answer of who sits at the terminal; False where nobody does, or where many ask."""
    if not sys.stdin.isatty() or int(os.environ.get("WORLD_SIZE", "1")) > 1:
        return False
    return typer.confirm(question, err=True)


def local(place: str, use: str = "run") -> Path:
    """Where a run or a file is on this machine: fetched first, for a `Use`, where it is a URL."""
    if not is_url(place):
        return local_place(place)
    from nvg.fetch import Use, fetched

    return fetched(place, Use(use))


def local_if(place: str | None, use: str = "run") -> Path | None:
    """The same, of one that may be left out."""
    return local(place, use) if place is not None else None


def report_place(run: str, out: Path | None) -> Path | None:
    """The folder of a report; InputError where it would be a run at a URL."""
    if out is None and is_url(run):
        raise InputError(f"{run} is read only: name a folder for the report with --out")
    return out


def require_recipe(path: str | Path) -> None:
    """InputError for a recipe that is not there: said before libraries are loaded for seconds."""
    if str(path).endswith(".toml") and "://" not in str(path) and not Path(path).exists():
        raise InputError(f"cannot read recipe {path}: No such file or directory")


def require_there(place: str | None, what: str) -> None:
    """InputError for a local path that is not there, before libraries are loaded for seconds."""
    if place and not is_url(place) and not local_place(place).exists():
        raise InputError(f"{place} does not exist: name {what}")


def require_out(place: str | Path) -> None:
    """InputError for a place where nothing can be written: said before any work."""
    if not str(place):
        raise InputError("--out is empty: name what to write")
    if not is_url(place):
        require_writable(local_place(place))


def require_store(path: str, finished: bool = True) -> None:
    """StoreError for a local path that is no store, or is to be `finished` and is not."""
    if is_url(path):
        return  # opened where it is read: asking twice takes twice as long
    from nvg.store import open_store

    opened = open_store(path)
    if finished:
        opened.require_finished()


def require_settings(run: str, settings: list[str]) -> None:
    """ConfigError for overrides of a run's recipe that cannot be, where the recipe is at hand."""
    recipe = local_place(run) / "config.toml"
    if not is_url(run) and recipe.is_file():
        from pipeline.recipe import load_recipe

        load_recipe(recipe, settings, warn=False)


def by_name(kind: type[Options], given: dict[str, Any]) -> Options:
    """The dataclass `kind` from the options of a verb with the names of its fields."""
    return kind(**{field.name: given[field.name] for field in fields(kind)})


def read_recipe(path: Path, settings: list[str] | None, *needs: str) -> Any:
    """The recipe with its `--set` overrides, and the sections that the verb needs."""
    require_recipe(path)
    from pipeline.recipe import load_recipe

    return load_recipe(path, settings or [], needs=needs)


def read_images(path: str, settings: list[str] | None, *needs: str, **options: Any) -> Any:
    """The recipe, or the one that images stand for, with the verb's options for keys of it."""
    require_recipe(path)
    from pipeline.data_recipe import DataOptions, read_data

    return read_data(path, settings or [], DataOptions(**options), needs)
