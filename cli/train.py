"""`nvgctl train`: the autoencoder, or the generators."""

from math import isfinite
from pathlib import Path
from typing import Annotated

import typer

from cli.log import say
from cli.options import (
    RUN,
    TOKENIZER,
    Address,
    DataPath,
    DryRun,
    Heldout,
    LabelColumn,
    Memory,
    PartName,
    RecipePath,
    Resume,
    Settings,
    Workers,
    local_if,
    read_images,
    read_recipe,
    require_out,
    require_store,
    require_there,
)
from nvg.errors import InputError

train = typer.Typer(no_args_is_help=True, help="Train the autoencoder or the generators.")


@train.command("autoencoder")
def train_autoencoder_verb(
    data: DataPath,
    out: Annotated[Path, typer.Option(help="Run directory")],
    start: Annotated[
        str | None,
        typer.Option("--from", help="Start from the weights of a run or a file, path or URL"),
    ] = None,
    image_size: Annotated[
        int | None, typer.Option(help="Side of the model's images, for data without a recipe")
    ] = None,
    heldout: Heldout = None,
    label_column: LabelColumn = None,
    settings: Settings = None,
    resume: Resume = False,
    workers: Workers = None,
    address: Address = None,
    dry_run: DryRun = False,
    memory: Memory = None,
) -> None:
    """Train the tokenizer on images, of a recipe or as they lie."""
    _require_companions(address, workers, memory, dry_run)
    require_out(out)
    require_there(start, TOKENIZER)
    loaded = read_images(
        data,
        settings,
        *("data", "autoencoder.model"),
        image_size=image_size,
        heldout=heldout,
        label_column=label_column,
    )
    from pipeline.ray_train import fit_autoencoder_on_ray
    from pipeline.train import fit_autoencoder
    from pipeline.train_plan import plan_autoencoder

    begin = local_if(start, "tokenizer")
    if dry_run:
        lines = plan_autoencoder(loaded, memory, workers or 1, out, resume)
    elif workers:
        lines = fit_autoencoder_on_ray(loaded, out, resume, workers, address, begin)
    else:
        lines = fit_autoencoder(loaded, out, resume, begin)
    say(lines)


@train.command("generator")
def train_generator_verb(
    recipe: RecipePath,
    stores: Annotated[
        list[str], typer.Option("--store", help="Finished store (path or URL; repeat it to mix)")
    ],
    out: Annotated[Path, typer.Option(help="Run directory")],
    start: Annotated[
        str | None,
        typer.Option("--from", help="Start from the weights of a finished run, path or URL"),
    ] = None,
    weights: Annotated[
        str | None,
        typer.Option(help="Shares of several stores, such as 0.7,0.3 (default: by their rows)"),
    ] = None,
    only: Annotated[PartName | None, typer.Option(help="Train one of the two")] = None,
    settings: Settings = None,
    resume: Resume = False,
    workers: Workers = None,
    address: Address = None,
    dry_run: DryRun = False,
    memory: Memory = None,
) -> None:
    """Train the content and structure generators on a store's tokens."""
    _require_companions(address, workers, memory, dry_run)
    require_out(out)
    require_there(start, RUN)
    loaded = read_recipe(recipe, settings, "generator")
    from nvg.compose.mixture import places_of

    places, name = places_of(stores, weights), only.value if only else None
    for store in stores:
        require_store(store)
    from pipeline.ray_train import fit_on_ray
    from pipeline.train import fit_generator
    from pipeline.train_plan import plan_generator

    begin = local_if(start, "generators")
    if dry_run:
        lines = plan_generator(loaded, places, name, begin, workers or 1, memory, out, resume)
    elif workers:
        lines = fit_on_ray(loaded, places, out, name, resume, workers, address, begin)
    else:
        lines = fit_generator(loaded, places, out, name, resume, begin)
    say(lines)


def _require_companions(
    address: str | None, workers: int | None, memory: float | None, dry_run: bool
) -> None:
    """InputError for an option that needs another one, and for a memory that is no number."""
    if address and not workers:
        raise InputError("--address names a Ray cluster: say how many --workers train there")
    if memory is not None and not isfinite(memory):
        raise InputError(f"--memory must be a number of GiB, not {memory}")
    if memory is not None and not dry_run:
        raise InputError("--memory says which GPU to plan for: add --dry-run, or leave it out")
