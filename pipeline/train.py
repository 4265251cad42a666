"""The training verbs: recipe + directories -> a trained run, and the lines that sum it up."""

import logging
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

from nvg.choices import TrainingCrop
from nvg.compose.mixture import Mixture, open_tokens
from nvg.distributed import joined
from nvg.files import read_small, write_atomic
from nvg.generator.config import GeneratorKind
from nvg.pretrained.names import require_vgg
from nvg.pretrained.vit import require_vit
from nvg.sampling.generators import load_generators
from nvg.sampling.guidance import untrained_null_warnings
from nvg.store import Split, Store
from nvg.store.lock import RETRY_SECONDS
from nvg.structure.builders import find_builder
from nvg.tokenizer.autoencoder import AUTOENCODER_FILE, load_autoencoder
from nvg.training.autoencoder.config import AutoencoderTraining, DiscriminatorKind
from nvg.training.autoencoder.train import train_autoencoder
from nvg.training.autoencoder.validation import reconstruction_picture
from nvg.training.generator.place import require_place
from nvg.training.generator.shape import shape_to_start_from
from nvg.training.generator.train import STARTED_FROM, train_generator
from nvg.training.run_dir import Run, RunError
from nvg.training.run_lock import run_lock
from nvg.weights import fingerprint
from pipeline.images.blocks import RowImages
from pipeline.images.held import HeldImages, held_if_small
from pipeline.images.recipe_images import open_images
from pipeline.recipe import Recipe
from pipeline.run_weights import first_samples
from pipeline.sources import left_out_lines, split_rows
from pipeline.train_size import require_size

log = logging.getLogger("nvg")


def fit_autoencoder(
    recipe: Recipe,
    out: Path,
    resume: bool,
    start_from: Path | None = None,
    lock_seconds: float = RETRY_SECONDS,
) -> list[str]:
    """Train the autoencoder into `out`; writes weights, metrics and reconstructions.png.

    A new run starts from the weights of `start_from`, where that is given. Of several processes
    the main one writes, and has lines to say.
    """
    with ExitStack() as held:
        world = held.enter_context(joined())
        with world.agreed():
            opened = open_images(recipe)
            rows, kept = split_rows(opened.source.rows, recipe.data.heldout)
            warnings = require_size("autoencoder", recipe.autoencoder.train, len(rows))
            if world.is_main:
                held.enter_context(run_lock(out, ["autoencoder"], lock_seconds))
            run = autoencoder_run(recipe, out, resume or not world.is_main, world.is_main)
        for line in warnings:
            log.warning("%s", line)
        images = _training_images(opened.center_crops(rows), recipe.autoencoder.train)
        heldout = opened.center_crops(kept) if kept else None
        model, training = recipe.autoencoder.model, recipe.autoencoder.train
        measures = train_autoencoder(model, training, images, heldout, run, start_from, world)
        skipped = {
            key: reason for own in world.gather(images.skipped) for key, reason in own.items()
        }
        if not world.is_main:
            return []
        trained = load_autoencoder(out, trust=True)  # the recipe has named its builder
        picture = reconstruction_picture(trained, heldout or images)
        write_atomic(out / "reconstructions.png", picture)
    lines = [f"{out / AUTOENCODER_FILE}: tokenizer {fingerprint(trained)[:16]}"]
    lines += left_out_lines(opened.source.left_out)
    lines += [f"skipped {key}: {reason}" for key, reason in skipped.items()]
    if measures:
        stages = " ".join(f"{error:.3f}" for error in measures.stage_error)
        lines += [
            f"held out ({measures.images}): PSNR {measures.psnr:.2f} dB, MSE {measures.mse:.5f}, "
            f"codebook use {measures.usage:.1%}, of the first stage {measures.stage_share[0]:.1%}",
            f"PSNR after each stage: {' '.join(f'{value:.2f}' for value in measures.stage_psnr)}",
            f"latent residual after each stage: {stages}",
        ]
    return lines


def autoencoder_run(recipe: Recipe, out: Path, resume: bool, writes: bool = True) -> Run:
    """The run directory; RunError where it cannot take this training.

    InputError, before anything is written, for a builder or networks that are not to be had.
    """
    find_builder(recipe.autoencoder.model.builder)
    loss, judge = recipe.autoencoder.train.loss, recipe.autoencoder.train.discriminator
    if loss.perceptual:
        require_vgg(loss.vgg)
    if judge.kind is DiscriminatorKind.DINO:
        require_vit(judge.model, Path(judge.weights))
    run = Run(out, recipe, resume, ("data", "autoencoder"), writes=writes)
    if (out / AUTOENCODER_FILE).exists() and not run.checkpoints.steps():
        raise RunError(f"{out} holds finished weights and no checkpoint: choose another --out")
    return run


def _training_images(images: RowImages, training: AutoencoderTraining) -> RowImages | HeldImages:
    """Held in memory where they fit and are all asked for."""
    if training.steps * training.batch_size < len(images):
        return images
    is_random = training.crop is TrainingCrop.RANDOM
    return held_if_small(images, training.crop_resize if is_random else None)


def fit_generator(
    recipe: Recipe,
    store_path: str | Mixture,
    out: Path,
    only: str | None,
    resume: bool,
    start_from: Path | None = None,
    lock_seconds: float = RETRY_SECONDS,
) -> list[str]:
    """Train the generators on a store into `out`, from the weights of a run if one is given.

    Nothing is written before everything is checked. Another training that writes the same is waited
    for `lock_seconds`, then this one is refused.
    """
    parts = parts_named(only)
    with ExitStack() as held:
        world = held.enter_context(joined())
        training = recipe.generator.train
        with world.agreed():
            store = open_tokens(store_path)
            store.require_finished()
            if world.is_main:
                held.enter_context(run_lock(out, parts, lock_seconds))
            start_from = start_of(recipe, store, parts, out, start_from)
            goes_on = resume or not world.is_main
            run = Run(out, recipe, goes_on, ("generator",), only or "", writes=world.is_main)
            warnings = require_size("generator", training, store.count(Split.TRAIN))
        preview = preview_writer(recipe, out, run) if len(parts) == len(GeneratorKind) else None
        for line in warnings if world.is_main else ():
            log.warning("%s", line)
        if preview and training.sample_every and world.is_main:
            classes, dropout = len(store.manifest.classes), training.class_dropout_prob
            for line in untrained_null_warnings(recipe.sample, dropout, classes):
                log.warning("%s", line)
        lines = train_generator(recipe.generator, store, parts, run, world, preview, start_from)
        if not world.is_main:
            return []
    names = [f"{out / f'{part.value}.safetensors'}: trained on {store_path}" for part in parts]
    return [*names, *lines]


def start_of(
    recipe: Recipe, store: Store, parts: list[GeneratorKind], out: Path, start_from: Path | None
) -> Path | None:
    """The run whose weights a run begins with: the one that is named, or was when it began.

    RunError, before anything is written, where it does not fit, or where this training would
    replace what `out` holds.
    """
    require_place(out, parts, store)
    began = out / STARTED_FROM
    if not (out / "checkpoints").exists() and start_from is None and began.exists():
        start_from = _named_in(began)
    if start_from:
        require_start(recipe, store, parts, start_from)
    return start_from


def _named_in(file: Path) -> Path:
    """The run that a file names; RunError where it names none."""
    try:
        text = read_small(file).decode()
    except ValueError:
        text = ""
    if not text or not text.isprintable():
        raise RunError(f"{file} is damaged: remove it, and name the run again with --from")
    return Path(text)


def require_start(
    recipe: Recipe, store: Store, parts: list[GeneratorKind], start_from: Path
) -> None:
    """RunError where the weights of a run do not fit the recipe or the store."""
    for part in parts:
        transformer, variant = getattr(recipe.generator, part.value), recipe.generator.variant
        shape_to_start_from(start_from, part, transformer, variant, store)


def parts_named(only: str | None) -> list[GeneratorKind]:
    """The generators to train: both, or one."""
    return [GeneratorKind(only)] if only else list(GeneratorKind)


def preview_writer(recipe: Recipe, out: Path, run: Run) -> Callable[[int], None]:
    """Writes `samples/step-N.png` from the checkpoint of step N, a row for each of some classes."""

    def write(step: int) -> None:
        checkpoint = dict.fromkeys(GeneratorKind, run.checkpoints.path(step))
        picture = first_samples(load_generators(out, checkpoint), recipe.sample)
        write_atomic(out / "samples" / f"step-{step:08d}.png", picture)

    return write
