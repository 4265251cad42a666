"""The sampling verb: options -> images, as a picture, files, or an array to evaluate."""

import logging
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from nvg.errors import InputError, stop_leaves
from nvg.files import write_atomic
from nvg.progress import progress
from nvg.sampling.generators import class_ids, class_names, read_classes
from nvg.sampling.guidance import untrained_null_warnings
from nvg.tokenizer.autoencoder import AUTOENCODER_FILE
from nvg.view.figures import Film, below, image_grid, sample_figure, shown_side
from nvg.view.formats import picture_bytes
from pipeline.run_weights import run_recipe, split_checkpoint
from pipeline.sampling.batches import MOST_SHOWN, Made, OpenJob, SampleJob, open_job, steering
from pipeline.sampling.options import SampleOptions
from pipeline.sampling.picture import default_picture
from pipeline.sampling.places import array_file, read_files, write_stages
from pipeline.sampling.record import Record, open_record, sample_facts
from pipeline.sampling.steered import Steering
from pipeline.team import Team, open_team

log = logging.getLogger("nvg")

MOST_UNASKED = 10_000  # images
TITLED = 96  # pixels of a tile at least, for the title above it
MOST_NAMED = 8  # classes in the plan


def write_samples(
    run: Path,
    options: SampleOptions,
    confirm: Callable[[str], bool] = lambda _question: False,  # where nobody can be asked
    home: Path | None = None,
) -> list[str]:
    """Sample what the options name and write it; the lines to print, of the main process.

    More images than `MOST_UNASKED` only with `options.yes`, or where `confirm` agrees. The default
    picture is in samples/ of `home`, or of the run.
    """
    options.check()
    job, warnings = plan_samples(run, options, home)
    _require_wanted(job, confirm)
    left = "nothing was written"
    if job.options.folder:
        left = f"what is in {job.options.folder} stays; go on with --resume"
    with stop_leaves(lambda: left):
        return _write(job, warnings)


def _write(job: SampleJob, warnings: list[str]) -> list[str]:
    options, pixels, films = job.options, list[Tensor](), list[Film]()
    with ExitStack() as stack:
        team = stack.enter_context(
            open_team(partial(open_job, job), options.workers, options.address)
        )
        with team.agreed():
            record = None
            if team.is_main and options.folder:
                facts = sample_facts(job.run, options, job.config, job.labels)
                record = open_record(options.folder, facts, options.resume)
        for line in warnings if team.is_main else ():
            log.warning("%s", line)
        team.prepare()
        if record:
            record.begin()
        if team.is_main:
            log.info("%s", _plan_line(job))
        append = None
        if options.npz and team.is_main:
            append = stack.enter_context(array_file(options.npz, len(job.labels)))
        for images, made in _batches(team, job, record):
            if record and made.digest:
                record.add(images, made.digest)
            if append and made.pixels is not None:
                append(made.pixels)
            if made.pixels is not None and options.png and images.start < MOST_SHOWN:
                pixels.append(made.pixels)
            if made.film:
                films.append(made.film)
        if not team.is_main:
            return []
    steered = steering(job)
    _draw(job, pixels, films, steered)
    written = (options.png, options.folder, options.npz, options.stages)
    said = [steered.said] if steered else []
    return [*said, *(f"wrote {path}" for path in written if path)]


def plan_samples(
    run: Path, options: SampleOptions, home: Path | None = None
) -> tuple[SampleJob, list[str]]:
    """What is sampled, and warnings; InputError, before any work, for what cannot be."""
    run, step = split_checkpoint(run)
    if step is not None:
        if options.checkpoint not in (None, step):
            raise InputError(f"step {step} and --checkpoint {options.checkpoint}: name one")
        options = replace(options, checkpoint=step)
        options.check()
    if run.suffix == ".safetensors" or (run / AUTOENCODER_FILE).exists():
        raise InputError(f"{run} is an autoencoder: name a run of generators")
    recipe = run_recipe(run, options.overrides)
    classes = read_classes(run)
    ids = class_ids(classes, options.label or [])
    labels = [label for label in ids for _ in range(options.number)]
    if not options.writes:
        names = [classes[label] for label in ids if label >= 0]
        place = (names, bool(options.label), options.number, options.seed, options.others)
        options = replace(options, png=default_picture(home or run, *place))
        options.check()
    dropout = recipe.generator.train.class_dropout_prob
    warnings = untrained_null_warnings(recipe.sample, dropout, len(classes))
    if options.workers is not None:  # they run in other folders
        options, run = options.absolute(), run.absolute()
    return SampleJob(run, options, recipe.sample, labels), warnings


def _require_wanted(job: SampleJob, confirm: Callable[[str], bool]) -> None:
    """InputError for many images that nobody said are wanted."""
    if len(job.labels) <= MOST_UNASKED or job.options.yes:
        return
    plan = _plan_line(job)
    if not confirm(f"{plan}. Sample them?"):
        raise InputError(f"{plan}: say --yes to sample so many, or name fewer with -n or --label")


def _plan_line(job: SampleJob) -> str:
    """How many images of which classes."""
    number, labels = job.options.number, job.labels[:: job.options.number]
    count = f"{len(job.labels):,} image{'s' * (len(job.labels) != 1)}"
    if labels == [-1]:
        return f"{count} without a class, seed {job.options.seed}"
    classes = read_classes(job.run)
    names = ", ".join(classes[label] for label in labels[:MOST_NAMED])
    if len(labels) == 1:
        return f"{count} of class {names}, seed {job.options.seed}"
    more = ", ..." * (len(labels) > MOST_NAMED)
    return (
        f"{count}: {number} of each of {len(labels)} classes ({names}{more}), "
        f"seed {job.options.seed}"
    )


def _batches(
    team: Team[OpenJob], job: SampleJob, record: Record | None
) -> Iterator[tuple[range, Made]]:
    """All batches in order, those sampled now and those whose files are there."""
    whole = {
        images
        for images in (job.batches if record and record.done else ())
        if not job.shows_stages(images) and record and record.is_whole(images, job.files(images))
    }
    missing = team.agree([images for images in job.batches if images not in whole])
    made = team.map(OpenJob.make, missing)
    if not team.is_main:
        yield from ((range(0), each) for each in made)  # does its share; no result comes
        return
    with progress(total=len(job.labels), desc="sample", unit="image") as bar:
        for images in job.batches:
            if images not in whole:
                yield images, next(made)
            elif job.shows_pixels(images):
                yield images, Made(pixels=read_files(job.files(images)))
            bar.update(len(images))


def _draw(
    job: SampleJob, batches: list[Tensor], films: list[Film], steered: Steering | None
) -> None:
    """The pictures, once all is sampled; what steered them above the samples."""
    options = job.options
    if options.png:
        names = class_names(read_classes(job.run), job.labels[:: options.number])
        pixels = torch.cat(batches)[:MOST_SHOWN]
        figure = sample_figure(pixels, names, options.number, options.tile)
        if steered:
            side = options.tile or shown_side(pixels.shape[-1])
            tiles, titles = list(steered.tiles.values()), list(steered.tiles)
            figure = below(image_grid([tiles], max(side, TITLED), titles), figure)
        write_atomic(options.png, picture_bytes(figure, options.png))
    if options.stages:
        write_stages(options.stages, Film.join(films), options.tile)
