"""`nvgctl evaluate`: measure what was trained."""

from pathlib import Path
from typing import Annotated

import typer

from cli.log import say
from cli.options import (
    RUN,
    TOKENIZER,
    Address,
    BatchSize,
    Compiling,
    Heldout,
    Most,
    Report,
    Settings,
    SplitName,
    Trust,
    Weights,
    WeightsName,
    Workers,
    by_name,
    local,
    read_images,
    report_place,
    require_recipe,
    require_store,
    require_there,
)
from nvg.pretrained.names import INCEPTION, require_extractor, require_vgg
from nvg.sampling.config import Compile

evaluate = typer.Typer(no_args_is_help=True, help="Measure a tokenizer or generators.")


@evaluate.command("reconstruction")
def reconstruction_verb(
    run: Annotated[
        str, typer.Argument(help="Autoencoder run directory or weights file, path or URL")
    ],
    data: Annotated[
        str, typer.Option(help="Recipe whose held-out images are rebuilt, or images as they lie")
    ],
    out: Annotated[
        Path | None, typer.Option(help="Folder for the report and the picture (default: the run)")
    ] = None,
    extractor: Annotated[
        str,
        typer.Option(
            help="Features of the Frechet distance: inception-v3-compat, vgg16, "
            "efficientnet-lite0 or MODULE:FUNCTION"
        ),
    ] = INCEPTION,
    weights: Annotated[
        Path | None, typer.Option(help="Local weights of the extractor, where it needs some")
    ] = None,
    vgg: Annotated[
        str | None, typer.Option(help="Local VGG16 weights for LPIPS, or `random` for a trial")
    ] = None,
    most: Most = None,
    heldout: Heldout = None,
    workers: Workers = None,
    address: Address = None,
    trust: Trust = False,
    settings: Settings = None,
) -> None:
    """Rebuild images: PSNR, SSIM, LPIPS, rFID, codebook use and PSNR after each stage."""
    require_recipe(data)
    require_there(run, TOKENIZER)
    if weights or extractor != INCEPTION:
        require_extractor(extractor, weights)
    if vgg:
        require_vgg(vgg)
    given = locals()
    recipe = read_images(data, settings, "data", heldout=heldout)
    from pipeline.evaluation.reconstruction import evaluate_reconstruction
    from pipeline.evaluation.reconstruction_tasks import ReconstructionOptions

    options = by_name(ReconstructionOptions, {**given, "out": report_place(run, out)})
    say(evaluate_reconstruction(local(run, "tokenizer"), recipe, options))


@evaluate.command("generation")
def generation_verb(
    run: Annotated[str, typer.Argument(help="Generator run directory (path or URL)")],
    data: Annotated[str, typer.Option(help="Recipe of the real images, or these as they lie")],
    extractor: Annotated[
        str,
        typer.Option(
            help="Features: inception-v3-compat, vgg16, efficientnet-lite0 or MODULE:FUNCTION"
        ),
    ] = INCEPTION,
    weights: Annotated[Path | None, typer.Option(help="Local weights of the extractor")] = None,
    number: Annotated[int, typer.Option("-n", min=1, help="Images to generate")] = 50_000,
    seed: Annotated[int, typer.Option(min=0, help="Same seed, same images")] = 0,
    real: Annotated[int | None, typer.Option(min=1, help="At most N real images")] = None,
    generator_weights: Weights = WeightsName.EMA,
    batch_size: BatchSize = 64,
    compile: Compiling = Compile.AUTO,
    out: Report = None,
    data_settings: Annotated[
        list[str] | None, typer.Option("--set-data", help="Override of --data (repeatable)")
    ] = None,
    settings: Settings = None,
    sweep: Annotated[
        list[str] | None,
        typer.Option(help="sample.KEY=VALUE,VALUE: measure every combination (repeatable)"),
    ] = None,
    workers: Workers = None,
    address: Address = None,
) -> None:
    """Generate images balanced over the classes: FID, KID, IS, precision and recall."""
    require_recipe(data)
    require_there(run, RUN)
    given = locals()
    recipe = read_images(data, data_settings, "data")
    require_extractor(extractor, weights)
    from pipeline.evaluation.generation import evaluate_generation
    from pipeline.evaluation.generation_tasks import GenerationOptions
    from pipeline.evaluation.sweep import sweep_generation

    options = by_name(GenerationOptions, {**given, "out": report_place(run, out)})
    verb = sweep_generation if sweep else evaluate_generation
    say(verb(local(run, "generators"), recipe, options))


@evaluate.command("likelihood")
def likelihood_verb(
    run: Annotated[str, typer.Argument(help="Generator run directory (path or URL)")],
    store: Annotated[str, typer.Option(help="Finished store (path or URL) of its tokenizer")],
    split: Annotated[SplitName, typer.Option(help="Rows that are measured")] = SplitName.VAL,
    most: Most = None,
    weights: Weights = WeightsName.EMA,
    out: Report = None,
) -> None:
    """Losses by stage and bits an image, on held-out rows of a store."""
    require_there(run, RUN)
    require_store(store)
    given = locals()
    from pipeline.evaluation.likelihood import LikelihoodOptions, evaluate_likelihood

    options = by_name(LikelihoodOptions, {**given, "out": report_place(run, out)})
    say(evaluate_likelihood(local(run, "generators"), store, options))
