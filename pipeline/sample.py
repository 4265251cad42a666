"""The sampling verb: options -> images, as a picture, files, or an array to evaluate.

Legend: B image of a batch, D row or column of pixels or of the grid.
"""

import io
import logging
import zipfile
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from nvg.errors import InputError
from nvg.files import require_file_place, write_atomic
from nvg.sampling.config import BATCH, Compile
from nvg.sampling.control import Control
from nvg.sampling.generators import Generators, class_ids
from nvg.sampling.guidance import untrained_null_warnings
from nvg.sequence import Sequences
from nvg.tokenizer.autoencoder import AUTOENCODER_FILE
from nvg.view.figures import hierarchy_figure, png_bytes, sample_figure, stage_frames, tiles_of
from pipeline.recipe import load_recipe
from pipeline.references import load_reference, picture_control, reference_control
from pipeline.run_weights import open_generators

MOST_SHOWN = 4096  # images in one picture
FRAME_MILLISECONDS = 600
MOST_STAGED = 16  # images whose stages are shown

log = logging.getLogger("nvg")


@dataclass(frozen=True, kw_only=True)
class SampleOptions:
    """The options of the verb: which images, and where they go; at least one place."""

    label: list[str] | None = None
    """Classes by name or id, all by default."""
    number: int = 8
    """Images of each class."""
    seed: int = 0
    settings: list[str] | None = None
    """Overrides of the run's recipe, such as sample.top_p=0.8."""
    weights: str = "ema"
    """ema, raw or best, see `open_generators`."""
    structure: Path | None = None
    """A user-drawn picture whose regions the first stages follow."""
    reference: str | None = None
    """STORE.vgs:ROW, or an image file."""
    keep: str | None = None
    """structure:M or all:M: what the first M stages take from it."""
    mask: Path | None = None
    """White where the reference is resampled."""
    tokenizer: Path | None = None
    """The autoencoder, for a reference image."""
    png: Path | None = None
    folder: Path | None = None
    npz: Path | None = None
    stages: Path | None = None
    batch_size: int = BATCH
    """Images sampled at once."""
    compile: str = Compile.AUTO
    """Whether the networks are compiled first: auto, on or off."""

    def check(self) -> None:
        """InputError for options that exclude each other, before any work."""
        if not (self.png or self.folder or self.npz or self.stages):
            raise InputError("nothing to write: name --png, --folder, --npz or --stages")
        if self.structure and self.reference:
            raise InputError("--structure and --reference both give structure: name one")
        for name in ("keep", "mask", "tokenizer"):
            if (
                getattr(self, name)
                and not self.reference
                and (name != "keep" or not self.structure)
            ):
                raise InputError(f"--{name} says what is done with a --reference: name one")
        for path in (self.png, self.npz):
            if path:
                require_file_place(path)
        for path in (self.folder, self.stages):
            if path and path.is_file():
                raise InputError(f"{path} is a file: name a folder")


def write_samples(run: Path, options: SampleOptions) -> list[str]:
    """Sample what the options name and write it; the lines to print."""
    options.check()
    if run.suffix == ".safetensors" or (run / AUTOENCODER_FILE).exists():
        raise InputError(f"{run} is an autoencoder: name a run of generators")
    recipe = load_recipe(run / "config.toml", options.settings or ())
    generators = open_generators(run, options.weights)
    dropout = recipe.generator.train.class_dropout_prob
    for line in untrained_null_warnings(recipe.sample, dropout, len(generators.classes)):
        log.warning("%s", line)
    ids = class_ids(generators.classes, options.label or [])
    labels = [label for label in ids for _ in range(options.number)]
    compiling = Compile(options.compile)
    generators = generators.prepared(options.batch_size, compiling, len(labels))
    control = _control(generators, options, len(labels))
    shown: list[Tensor] = []
    staged: list[Sequences] = []
    with ExitStack() as stack:
        array = stack.enter_context(_ArrayFile(options.npz, len(labels))) if options.npz else None
        done = 0
        for sequences, pixels in generators.batches(labels, options.seed, recipe.sample, control):
            if options.png and done < MOST_SHOWN:
                shown.append(pixels.cpu())
            if options.stages and done < MOST_STAGED:
                staged.append(sequences)
            if options.folder:
                _write_files(options.folder, generators.classes, sequences, pixels, done)
            if array:
                array.add(pixels)
            done += len(pixels)
    if options.png:
        pixels = torch.cat(shown)[:MOST_SHOWN]
        write_atomic(
            options.png, png_bytes(sample_figure(pixels, generators.names(ids), options.number))
        )
    if options.stages:
        _write_stages(options.stages, generators, Sequences.join(staged))
    written = (options.png, options.folder, options.npz, options.stages)
    return [f"wrote {path}" for path in written if path]


def _control(generators: Generators, options: SampleOptions, count: int) -> Control | None:
    """What is given instead of sampled."""
    geometry = generators.detokenizer.config.geometry
    device = next(generators.content.parameters()).device
    if options.structure:
        control = picture_control(options.structure, options.keep, geometry, count)
    elif options.reference:
        reference = load_reference(options.reference, generators.tokenizer, options.tokenizer)
        control = reference_control(reference, options.keep, options.mask, geometry, count)
    else:
        return None
    return control.to(device)


def _write_files(
    folder: Path, classes: list[str], sequences: Sequences, pixels: Tensor, start: int
) -> None:
    """One PNG an image, NUMBER.png in a folder of its class."""
    for offset, tile in enumerate(tiles_of(pixels)):
        label = int(sequences.label[offset])
        name = f"{label:04d}" if label >= 0 and classes else ""
        data = png_bytes(Image.fromarray(tile))
        write_atomic(folder / name / f"{start + offset:06d}.png", data)


def _write_stages(folder: Path, generators: Generators, sequences: Sequences) -> None:
    """stages.png, and an animation NUMBER.gif of each of the first images, a frame per stage."""
    leaves = sequences.leaves[:MOST_STAGED].long().cpu()
    content = sequences.content[:MOST_STAGED].cpu()
    detokenizer = generators.detokenizer.cpu()
    write_atomic(folder / "stages.png", png_bytes(hierarchy_figure(detokenizer, leaves, content)))
    for number, frames in enumerate(stage_frames(detokenizer, leaves, content)):
        buffer = io.BytesIO()
        first, *rest = frames
        first.save(
            buffer, "gif", save_all=True, append_images=rest, duration=FRAME_MILLISECONDS, loop=0
        )
        write_atomic(folder / f"{number:04d}.gif", buffer.getvalue())


class _ArrayFile:
    """An .npz with `arr_0` uint8 [B, D, D, 3], as the ADM evaluator reads it, as it grows."""

    def __init__(self, path: Path, count: int) -> None:
        self.path, self.count = path, count
        self.partial = path.with_name(f"{path.name}.tmp")

    def __enter__(self) -> "_ArrayFile":
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.archive = zipfile.ZipFile(self.partial, "w", allowZip64=True)
        self.member: Any = None
        return self

    def add(self, pixels: Tensor) -> None:
        """Append a batch uint8 [B, 3, D, D]."""
        values = np.ascontiguousarray(pixels.cpu().permute(0, 2, 3, 1).numpy())
        if self.member is None:
            self.member = self.archive.open("arr_0.npy", "w", force_zip64=True)
            shape = (self.count, *values.shape[1:])
            header = {"descr": "|u1", "fortran_order": False, "shape": shape}
            np.lib.format.write_array_header_1_0(self.member, header)
        self.member.write(values.tobytes())

    def __exit__(self, kind: object, *rest: object) -> None:
        if self.member is not None:
            self.member.close()
        self.archive.close()
        if kind is None:
            self.partial.replace(self.path)
        else:
            self.partial.unlink(missing_ok=True)
