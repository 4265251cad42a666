"""What each process of an evaluation of generators does: it samples, reads, and takes features.

Batches are the same whoever does them, so the features are too.
"""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from torch import Tensor

from nvg.distributed import default_device
from nvg.metrics.generation import Features
from nvg.pretrained.inception import Extractor, NamedExtractor, load_extractor
from nvg.sampling.config import BATCH, Compile, SamplerConfig
from nvg.sampling.generators import Generators
from nvg.weights import fingerprint
from pipeline.images.blocks import RowImages
from pipeline.images.pixels import Reading
from pipeline.recipe import Recipe
from pipeline.run_weights import open_generators
from pipeline.sources import Rows, open_source, split_rows


@dataclass(frozen=True, kw_only=True)
class GenerationOptions:
    """The options of the verb: how many images, and what measures them."""

    number: int = 50_000
    """Generated images, balanced over the classes."""
    seed: int = 0
    settings: list[str] | None = None
    """Overrides of the run's recipe."""
    sweep: list[str] | None = None
    """KEY=VALUE,VALUE of [sample]: every combination is measured."""
    generator_weights: str = "ema"
    """ema, raw or best."""
    real: int | None = None
    """Upper limit of real images, evenly spaced; precision and recall need its square in memory."""
    extractor: str
    weights: Path | None = None
    """Of the extractor."""
    out: Path | None = None
    """Folder of the report, by default the run."""
    batch_size: int = BATCH
    """Images sampled at once."""
    compile: str = Compile.AUTO
    """Whether the networks are compiled first: auto, on or off."""
    workers: int | None = None
    """Actors of a Ray cluster, which share the images out."""
    address: str | None = None
    """Of that cluster."""


@dataclass(frozen=True)
class EvaluationJob:
    """An evaluation as every process gets it."""

    run: Path
    options: GenerationOptions
    labels: list[int]
    data: Recipe
    """Of the real images."""


@dataclass(frozen=True)
class Facts:
    """What the results depend on beside the settings of sampling, and how many images are real."""

    extractor: NamedExtractor
    tokenizer: str
    generators: list[str]
    """Fingerprints of the networks."""
    size: int
    """Pixels along the side of an image."""
    source: str
    """Fingerprint of the real images."""
    reading: str
    """How their pixels are read."""
    real: tuple[int, int]
    """Of them, and of the held-out ones."""


@dataclass(frozen=True)
class RealBatch:
    """Some real images."""

    heldout: bool
    images: range


@dataclass(frozen=True)
class SampledBatch:
    """Some images to sample, and which of them are shown."""

    images: range
    seed: int
    config: SamplerConfig
    shown: list[int]


@dataclass(frozen=True)
class Networks:
    """The state of a process."""

    job: EvaluationJob
    generators: Generators
    extractor: Extractor
    label_B: Tensor

    @cached_property
    def real(self) -> tuple[RowImages, RowImages]:
        """Centre crops: the real images, and those that are held out."""
        data = self.job.data.data
        source, reading = open_source(data), Reading.of(data)
        size = self.generators.detokenizer.config.image_size
        one, other = (
            RowImages(source, _evenly(rows, self.job.options.real), size, None, reading)
            for rows in split_rows(source.rows, data.heldout)
        )
        return one, other

    def facts(self, _task: int) -> Facts:
        """Of this evaluation."""
        networks = (self.generators.content, self.generators.structure)
        real, heldout = self.real
        return Facts(
            self.extractor.named,
            self.generators.tokenizer,
            [fingerprint(network) for network in networks],
            self.generators.detokenizer.config.image_size,
            real.source.fingerprint(),
            str(real.reading),
            (len(real), len(heldout)),
        )

    def read(self, task: RealBatch) -> Features:
        """Features of real images."""
        rows = np.array(task.images)
        pixels = self.real[task.heldout].batch(rows).tensors(default_device())[0]
        return Features.of(self.extractor, pixels)

    def sample(self, task: SampledBatch) -> tuple[Features, list[Tensor]]:
        """Features of sampled images, and those [3, D, D] that are shown."""
        _, pixels = self.generators.batch(self.label_B, task.images, task.seed, task.config)
        shown = [pixels[number - task.images.start].cpu() for number in task.shown]
        return Features.of(self.extractor, pixels), shown


def open_networks(job: EvaluationJob) -> Networks:
    """Load what a process needs; InputError when anything is missing."""
    options = job.options
    extractor = load_extractor(options.extractor, options.weights, default_device())
    generators = open_generators(job.run, options.generator_weights)
    compiling = Compile(options.compile)
    generators = generators.prepared(options.batch_size, compiling, len(job.labels))
    label_B = generators.sampler(SamplerConfig()).on_device(job.labels)
    return Networks(job, generators, extractor, label_B)


def _evenly(rows: Rows, most: int | None) -> Rows:
    """At most `most` rows, evenly spaced."""
    if most is None or len(rows) <= most:
        return rows
    return rows.take(np.arange(most) * len(rows) // most)
