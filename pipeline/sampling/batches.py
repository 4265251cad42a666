"""Batches of a sampling: what each process does, alone or of many.

A batch is sampled wholly by one process, and always with the same images: so files and arrays are
the same to the byte, however many processes share the batches.
"""

from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from nvg.sampling.config import Compile, SamplerConfig
from nvg.sampling.control import Control
from nvg.sampling.generators import Generators
from nvg.sampling.sampler import batch_ranges
from nvg.tokenizer.config import AutoencoderConfig
from nvg.tokenizer.detokenizer import DETOKENIZER_FILE, load_detokenizer
from nvg.view.figures import Film
from nvg.weights import read_header
from pipeline.run_weights import open_generators
from pipeline.sampling.options import SampleOptions
from pipeline.sampling.places import MOST_STAGED, image_file, write_files
from pipeline.sampling.record import files_digest
from pipeline.sampling.references import (
    load_reference,
    picture_control,
    reference_control,
    require_codes,
)
from pipeline.sampling.steered import Steering, steering_of

MOST_SHOWN = 4096  # images in one picture


@dataclass(frozen=True)
class Made:
    """A batch: what the main process needs of it."""

    digest: str = ""
    """Of its files."""
    pixels: Tensor | None = None
    """uint8 [B, 3, D, D], where they go into an array or a picture."""
    film: Film | None = None
    """Of the first images, where stages are shown."""


@dataclass(frozen=True)
class SampleJob:
    """A sampling as every process gets it."""

    run: Path
    options: SampleOptions
    config: SamplerConfig
    labels: list[int]
    """Class ids, an image each."""

    @property
    def batches(self) -> list[range]:
        """The numbers of the images, batch by batch."""
        return batch_ranges(len(self.labels), self.options.batch_size)

    def files(self, images: range) -> list[Path]:
        """Of a batch, in --folder."""
        folder = self.options.folder or Path()
        return [image_file(folder, number, self.labels[number]) for number in images]

    def shows_pixels(self, images: range) -> bool:
        """Whether the main process needs the pixels of a batch."""
        is_shown = self.options.png is not None and images.start < MOST_SHOWN
        return self.options.npz is not None or is_shown

    def shows_stages(self, images: range) -> bool:
        """Whether it needs its stages."""
        return self.options.stages is not None and images.start < MOST_STAGED


@dataclass(frozen=True)
class OpenJob:
    """The networks and what steers them, in one process."""

    job: SampleJob
    generators: Generators
    label_B: Tensor
    control: Control | None

    def make(self, images: range) -> Made:
        """Sample a batch, and write its files."""
        job, model = self.job, self.generators.detokenizer
        shown = MOST_STAGED - images.start if job.shows_stages(images) else 0
        maps, canvases = [], []
        for made in self.generators.stages(
            self.label_B, images, job.options.seed, job.config, self.control
        ):
            if shown:
                maps.append(made.structure[:shown].cpu())
                canvases.append(model.render(made.canvas[:shown]).cpu())
        pixels, digest = model.render(made.canvas).cpu(), ""
        if job.options.folder:
            digest = files_digest(write_files(job.files(images), pixels))
        return Made(
            digest,
            pixels if job.shows_pixels(images) else None,
            Film(model.config.geometry, maps, canvases) if shown else None,
        )


def open_job(job: SampleJob) -> OpenJob:
    """Load the networks of a run; InputError where they or what steers them cannot be used."""
    options, count = job.options, len(job.labels)
    generators = open_generators(job.run, options.weights, options.checkpoint, options.device)
    generators = generators.prepared(options.batch_size, Compile(options.compile), count)
    label_B = generators.sampler(job.config).on_device(job.labels)
    control = _control(generators.detokenizer.config, generators.tokenizer, options, count)
    return OpenJob(job, generators, label_B, control.to(label_B.device) if control else None)


def steering(job: SampleJob) -> Steering | None:
    """What steers a job, as it is shown; None where nothing does."""
    options = job.options
    if not (options.structure or options.reference):
        return None
    file = job.run / DETOKENIZER_FILE
    detokenizer = load_detokenizer(file)
    identity = read_header(file).get("tokenizer", "")
    return steering_of(options, _control(detokenizer.config, identity, options, 1), detokenizer)


def _control(
    config: AutoencoderConfig, identity: str, options: SampleOptions, count: int
) -> Control | None:
    """What is given instead of sampled, by generators of the tokenizer `identity`."""
    geometry = config.geometry
    if options.structure:
        return picture_control(options.structure, options.keep, geometry, count)
    if options.reference:
        reference = load_reference(options.reference, identity, options.tokenizer, options.trust)
        require_codes(reference, config.codebook_size)
        return reference_control(reference, options.keep, options.mask, geometry, count)
    return None
