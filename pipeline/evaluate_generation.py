"""The evaluation of generators: samples balanced over the classes against real images."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from nvg import __version__
from nvg.config import as_table
from nvg.distributed import default_device
from nvg.errors import InputError
from nvg.files import write_atomic
from nvg.metrics.generation import Features, fidelity, fidelity_line
from nvg.pretrained.inception import Extractor, load_extractor
from nvg.sampling.config import BATCH as SAMPLED
from nvg.sampling.config import Compile, SamplerConfig
from nvg.sampling.generators import Generators
from nvg.sampling.guidance import untrained_null_warnings
from nvg.view.figures import png_bytes, sample_figure
from pipeline.real_features import RealFeatures, real_features
from pipeline.recipe import Recipe, load_recipe
from pipeline.run_weights import open_generators

REPORT, PICTURE = "generation.json", "generation.png"
SHOWN_CLASSES, SHOWN = 10, 8  # of the picture


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
    """ema or raw."""
    real: int | None = None
    """Upper limit of real images, evenly spaced; precision and recall need its square in memory."""
    extractor: str
    weights: Path | None = None
    """Of the extractor."""
    out: Path | None = None
    """Folder of the report, by default the run."""
    batch_size: int = SAMPLED
    """Images sampled at once."""
    compile: str = Compile.AUTO
    """Whether the networks are compiled first: auto, on or off."""


@dataclass(frozen=True)
class Evaluation:
    """What the settings of sampling leave as it is: networks, labels, the real images."""

    generators: Generators
    extractor: Extractor
    labels: list[int]
    real: RealFeatures
    class_dropout_prob: float
    facts: dict[str, Any]
    """What a report needs to repeat its numbers, but for the settings."""

    def measure(self, seed: int, config: SamplerConfig) -> tuple[dict[str, Any], bytes]:
        """The measures of the samples of these settings, and a picture of some of them."""
        made, shown = _generated(self, seed, config)
        found = fidelity(made, self.real.images, self.extractor)
        found["warnings"] += untrained_null_warnings(
            config, self.class_dropout_prob, len(self.generators.classes)
        )
        return found, shown


def evaluate_generation(run: Path, data: Recipe, options: GenerationOptions) -> list[str]:
    """Measure generators against the images of a recipe; writes REPORT and PICTURE.

    Where images are held out, they are measured against the others too, as the floor. Returns the
    lines to print. InputError when anything is missing.
    """
    recipe = load_recipe(run / "config.toml", options.settings or ())
    evaluation = open_evaluation(run, data, recipe, options)
    found, shown = evaluation.measure(options.seed, recipe.sample)
    floor, heldout = None, evaluation.real.heldout
    if heldout:
        floor = fidelity(heldout, evaluation.real.images, evaluation.extractor)
    report = {
        "run": str(run),
        **evaluation.facts,
        "sample": as_table(recipe.sample),
        "result": found,
        "floor": floor,
    }
    folder = options.out or run
    write_atomic(folder / REPORT, json.dumps(report, indent=1).encode())
    write_atomic(folder / PICTURE, shown)
    lines = [f"{len(evaluation.labels)} generated: {fidelity_line(found)}"]
    if floor and heldout:
        lines.append(f"{len(heldout.values)} real, held out: {fidelity_line(floor)}")
    warned = dict.fromkeys(found["warnings"] + (floor["warnings"] if floor else []))
    lines += [f"warning: {line}" for line in warned]
    return [*lines, f"wrote {folder / REPORT} and {folder / PICTURE}"]


def open_evaluation(
    run: Path, data: Recipe, recipe: Recipe, options: GenerationOptions
) -> Evaluation:
    """Load the networks of a run and take the features of the real images; InputError."""
    extractor = load_extractor(options.extractor, options.weights, default_device())
    generators = open_generators(run, options.generator_weights)
    labels = balanced(len(generators.classes), options.number)
    compiling = Compile(options.compile)
    generators = generators.prepared(options.batch_size, compiling, len(labels))
    size = generators.detokenizer.config.image_size
    real = real_features(data, size, extractor, options.real)
    facts = {
        "tokenizer": generators.tokenizer,
        "weights": options.generator_weights,
        "generated": len(labels),
        "real": len(real.images.values),
        "seed": options.seed,
        "extractor": extractor.name,
        "extractor_sha256": extractor.weights,
        "data": as_table(data.data),
        "versions": {"nvg": __version__, "torch": torch.__version__},
    }
    dropout = recipe.generator.train.class_dropout_prob
    return Evaluation(generators, extractor, labels, real, dropout, facts)


def balanced(classes: int, number: int) -> list[int]:
    """So many labels, each class as often as any other, but for the rest; -1 without classes."""
    if number < 1:
        raise InputError("-n must be at least 1")
    ids = list(range(classes)) or [-1]
    return sorted(ids[n % len(ids)] for n in range(number))


def _generated(evaluation: Evaluation, seed: int, config: SamplerConfig) -> tuple[Features, bytes]:
    """Features of the samples, and a picture of the first of some classes."""
    generators, labels = evaluation.generators, evaluation.labels
    first = {label: labels.index(label) for label in sorted(set(labels))[:SHOWN_CLASSES]}
    wanted = {n for start in first.values() for n in range(start, start + SHOWN)}
    tiles: list[Tensor] = []

    def batches() -> Iterator[Tensor]:
        done = 0
        for _, pixels in generators.batches(labels, seed, config):
            for offset in range(len(pixels)):
                if done + offset in wanted:
                    tiles.append(pixels[offset].cpu())
            done += len(pixels)
            yield pixels

    features = Features.of(evaluation.extractor, batches())
    names = generators.names(list(first))
    return features, png_bytes(sample_figure(torch.stack(tiles), names, SHOWN))
