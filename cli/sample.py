"""`nvgctl sample`: generate images, freely or steered."""

from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer

from cli.log import say
from cli.options import (
    RUN,
    Address,
    BatchSize,
    Compiling,
    Settings,
    Trust,
    WeightsName,
    Workers,
    by_name,
    confirmed,
    local,
    local_if,
    require_settings,
    require_there,
)
from nvg.files import is_url
from nvg.sampling.config import Compile


def _option(group: str, help: str, *names: str, **limits: Any) -> Any:
    """An option in a group of the help."""
    return typer.Option(*names, help=help, rich_help_panel=group, **limits)


WHAT, WHERE, CONTROL, SETTINGS = "What is sampled", "Where it goes", "Control", "Settings"

Label = Annotated[
    list[str] | None, _option(WHAT, "Class names or ids: cat, 3, 1,2 or 0-3 (repeatable)")
]
Number = Annotated[int, _option(WHAT, "Images per class", "-n", min=1)]
Seed = Annotated[int, _option(WHAT, "Same seed, same images", min=0)]
Weights = Annotated[WeightsName, _option(WHAT, "EMA, last, or EMA of the lowest held-out loss")]
Checkpoint = Annotated[int | None, _option(WHAT, "Step of a checkpoint of the run", min=1)]
Yes = Annotated[bool, _option(WHAT, "Sample more than 10,000 images unasked", "--yes")]

Png = Annotated[
    Path | None,
    _option(WHERE, "Picture to write, a row per class (default: in samples/ of the run)"),
]
Tile = Annotated[
    int | None, _option(WHERE, "Side of an image in the pictures (default: its own)", min=1)
]
Folder = Annotated[Path | None, _option(WHERE, "Folder to write a PNG per image to")]
Npz = Annotated[Path | None, _option(WHERE, "Array to write, for the ADM evaluator")]
Stages = Annotated[Path | None, _option(WHERE, "Folder to write canvas and structure per stage to")]
Resume = Annotated[
    bool, _option(WHERE, "Skip what is in --folder already, of the same command", "--resume")
]

Structure = Annotated[
    Path | None, _option(CONTROL, "User-drawn picture whose regions the first stages follow")
]
Reference = Annotated[str | None, _option(CONTROL, "STORE.vgs:ROW, tokens in .json or an image")]
Keep = Annotated[
    str | None,
    _option(CONTROL, "structure:M or all:M, what the first M stages keep; or all:2,structure:5"),
]
Mask = Annotated[Path | None, _option(CONTROL, "White where the reference is resampled")]
Tokenizer = Annotated[
    str | None, _option(CONTROL, "Autoencoder run (path or URL), for a reference image")
]

CfgScale = Annotated[float | None, _option(SETTINGS, "sample.content_guidance")]
StructureCfgScale = Annotated[float | None, _option(SETTINGS, "sample.structure_guidance")]
TopP = Annotated[float | None, _option(SETTINGS, "sample.top_p")]
TopK = Annotated[int | None, _option(SETTINGS, "sample.top_k")]
Temperature = Annotated[float | None, _option(SETTINGS, "sample.temperature")]
Steps = Annotated[int | None, _option(SETTINGS, "sample.flow_steps")]
Device = Annotated[str | None, typer.Option(help="cpu, cuda or cuda:N (default: a GPU if any)")]


def sample(
    run: Annotated[
        str, typer.Argument(help="Generator run directory (path or URL), or a checkpoint in one")
    ],
    label: Label = None,
    number: Number = 8,
    seed: Seed = 0,
    weights: Weights = WeightsName.EMA,
    checkpoint: Checkpoint = None,
    yes: Yes = False,
    png: Png = None,
    tile: Tile = None,
    folder: Folder = None,
    npz: Npz = None,
    stages: Stages = None,
    resume: Resume = False,
    structure: Structure = None,
    reference: Reference = None,
    keep: Keep = None,
    mask: Mask = None,
    tokenizer: Tokenizer = None,
    cfg_scale: CfgScale = None,
    structure_cfg_scale: StructureCfgScale = None,
    top_p: TopP = None,
    top_k: TopK = None,
    temperature: Temperature = None,
    steps: Steps = None,
    device: Device = None,
    batch_size: BatchSize = 64,
    compile: Compiling = Compile.AUTO,
    workers: Workers = None,
    address: Address = None,
    trust: Trust = False,
    settings: Settings = None,
) -> None:
    """Generate images of the given classes, or of all."""
    from pipeline.sampling.options import SampleOptions

    options = by_name(SampleOptions, {**locals(), "tokenizer": tokenizer and Path(tokenizer)})
    options.check()
    require_there(run, RUN)
    require_settings(run, options.overrides)
    from pipeline.sampling.sample import write_samples

    home = Path() if is_url(run) else None
    options = replace(options, tokenizer=local_if(tokenizer, "tokenizer"))
    say(write_samples(local(run, "generators"), options, confirmed, home))
