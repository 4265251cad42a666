"""`nvgctl sample`: generate images, freely or steered."""

from pathlib import Path
from typing import Annotated

import typer

from cli.options import (
    Address,
    BatchSize,
    CompileName,
    Compiling,
    Settings,
    WeightsName,
    Workers,
    by_name,
)


def sample(
    run: Annotated[Path, typer.Argument(help="Generator run directory")],
    png: Annotated[Path | None, typer.Option(help="Picture to write, a row per class")] = None,
    folder: Annotated[Path | None, typer.Option(help="Folder to write a PNG per image to")] = None,
    npz: Annotated[Path | None, typer.Option(help="Array to write, for the ADM evaluator")] = None,
    stages: Annotated[
        Path | None, typer.Option(help="Folder to write canvas and structure per stage to")
    ] = None,
    label: Annotated[list[str] | None, typer.Option(help="Class name or id (repeatable)")] = None,
    number: Annotated[int, typer.Option("-n", min=1, help="Images per class")] = 8,
    seed: Annotated[int, typer.Option(min=0, help="Same seed, same images")] = 0,
    structure: Annotated[
        Path | None, typer.Option(help="User-drawn picture whose regions the first stages follow")
    ] = None,
    reference: Annotated[
        str | None, typer.Option(help="STORE.vgs:ROW or an image, to keep parts of")
    ] = None,
    keep: Annotated[
        str | None, typer.Option(help="structure:M or all:M, what the first M stages keep")
    ] = None,
    mask: Annotated[
        Path | None, typer.Option(help="White where the reference is resampled")
    ] = None,
    tokenizer: Annotated[
        Path | None, typer.Option(help="Autoencoder run, for a reference image")
    ] = None,
    weights: Annotated[
        WeightsName, typer.Option(help="EMA, last, or EMA of the lowest held-out loss")
    ] = WeightsName.EMA,
    batch_size: BatchSize = 64,
    compile: Compiling = CompileName.AUTO,
    resume: Annotated[
        bool, typer.Option(help="Skip what is in --folder already, of the same command")
    ] = False,
    workers: Workers = None,
    address: Address = None,
    settings: Settings = None,
) -> None:
    """Generate images of the given classes, or of all."""
    from pipeline.sampling.options import SampleOptions
    from pipeline.sampling.sample import write_samples

    lines = write_samples(run, by_name(SampleOptions, locals()))
    typer.echo("\n".join(lines), nl=bool(lines))
