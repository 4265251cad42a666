"""The sampling verb: options -> images, as a picture, files, or an array to evaluate."""

import logging
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from nvg.errors import InputError
from nvg.files import write_atomic
from nvg.progress import progress
from nvg.sampling.generators import class_ids, read_classes
from nvg.sampling.guidance import untrained_null_warnings
from nvg.sequence import Sequences
from nvg.tokenizer.autoencoder import AUTOENCODER_FILE
from nvg.tokenizer.detokenizer import DETOKENIZER_FILE, load_detokenizer
from nvg.view.figures import png_bytes, sample_figure
from pipeline.recipe import load_recipe
from pipeline.sampling.batches import MOST_SHOWN, Made, OpenJob, SampleJob, open_job
from pipeline.sampling.options import SampleOptions
from pipeline.sampling.places import ArrayFile, read_files, write_stages
from pipeline.sampling.record import Record, open_record, sample_facts
from pipeline.team import Team, open_team

log = logging.getLogger("nvg")


@dataclass(frozen=True)
class Shown:
    """What pictures are drawn of."""

    pixels: list[Tensor] = field(default_factory=list)
    sequences: list[Sequences] = field(default_factory=list)


def write_samples(run: Path, options: SampleOptions) -> list[str]:
    """Sample what the options name and write it; the lines to print, of the main process."""
    options.check()
    job, warnings = plan_samples(run, options)
    shown = Shown()
    with ExitStack() as stack:
        team = stack.enter_context(
            open_team(partial(open_job, job), options.workers, options.address)
        )
        record = _record(job) if team.is_main and options.folder else None
        for line in warnings if team.is_main else ():
            log.warning("%s", line)
        team.prepare()
        array = None
        if options.npz and team.is_main:
            array = stack.enter_context(ArrayFile(options.npz, len(job.labels)))
        for images, made in _batches(team, job, record):
            if record and made.digest:
                record.add(images, made.digest)
            if array and made.pixels is not None:
                array.add(made.pixels)
            if made.pixels is not None and options.png and images.start < MOST_SHOWN:
                shown.pixels.append(made.pixels)
            if made.sequences:
                shown.sequences.append(made.sequences)
        if not team.is_main:
            return []
    _draw(job, shown)
    written = (options.png, options.folder, options.npz, options.stages)
    return [f"wrote {path}" for path in written if path]


def plan_samples(run: Path, options: SampleOptions) -> tuple[SampleJob, list[str]]:
    """What is sampled, and warnings; InputError, before any work, for what cannot be."""
    if run.suffix == ".safetensors" or (run / AUTOENCODER_FILE).exists():
        raise InputError(f"{run} is an autoencoder: name a run of generators")
    recipe = load_recipe(run / "config.toml", options.settings or (), needs=("generator",))
    classes = read_classes(run)
    ids = class_ids(classes, options.label or [])
    labels = [label for label in ids for _ in range(options.number)]
    dropout = recipe.generator.train.class_dropout_prob
    warnings = untrained_null_warnings(recipe.sample, dropout, len(classes))
    if options.workers is not None:  # they run in other folders
        options, run = options.absolute(), run.absolute()
    return SampleJob(run, options, recipe.sample, labels), warnings


def _record(job: SampleJob) -> Record:
    options = job.options
    assert options.folder
    facts = sample_facts(job.run, options, job.config, job.labels)
    return open_record(options.folder, facts, options.resume)


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


def _draw(job: SampleJob, shown: Shown) -> None:
    """The pictures, once all is sampled."""
    options = job.options
    if options.png:
        names, classes = [], read_classes(job.run)
        for label in job.labels[:: options.number]:
            names.append(classes[label] if label >= 0 else "")
        pixels = torch.cat(shown.pixels)[:MOST_SHOWN]
        write_atomic(options.png, png_bytes(sample_figure(pixels, names, options.number)))
    if options.stages:
        detokenizer = load_detokenizer(job.run / DETOKENIZER_FILE)
        write_stages(options.stages, detokenizer, Sequences.join(shown.sequences))
