"""The evaluation of generators: samples balanced over the classes against real images."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from nvg import __version__
from nvg.config import as_table
from nvg.errors import InputError
from nvg.fetch import named
from nvg.files import write_atomic
from nvg.metrics.generation import Features, fidelity, fidelity_line, require_enough
from nvg.progress import progress
from nvg.sampling.config import SamplerConfig
from nvg.sampling.generators import class_names, read_classes
from nvg.sampling.guidance import untrained_null_warnings
from nvg.sampling.sampler import batch_ranges
from nvg.view.figures import png_bytes, sample_figure
from pipeline.evaluation.generation_tasks import (
    EvaluationJob,
    Facts,
    GenerationOptions,
    Networks,
    SampledBatch,
    open_networks,
)
from pipeline.evaluation.real_features import RealFeatures, real_features
from pipeline.recipe import Recipe
from pipeline.run_weights import SHOWN, SHOWN_CLASSES, run_recipe
from pipeline.team import Team, open_team, reachable

REPORT, PICTURE = "generation.json", "generation.png"


@dataclass(frozen=True)
class Evaluation:
    """What the settings of sampling leave as it is: the processes, labels, the real images."""

    team: Team[Networks]
    facts: Facts
    labels: list[int]
    batch_size: int
    classes: list[str]
    class_dropout_prob: float
    real: RealFeatures | None
    """None but in the main process."""
    report: dict[str, Any]
    """What a report needs to repeat its numbers, but for the settings."""

    def measure(self, seed: int, config: SamplerConfig) -> tuple[dict[str, Any], bytes] | None:
        """The measures of the samples of these settings, and a picture of some of them.

        None but in the main process.
        """
        first = {label: self.labels.index(label) for label in sorted(set(self.labels))}
        shown = dict(list(first.items())[:SHOWN_CLASSES])
        made, tiles = self._sampled(seed, config, list(shown.values()))
        if self.real is None:
            return None
        found = fidelity(made, self.real.images, self.facts.extractor)
        found["warnings"] += untrained_null_warnings(
            config, self.class_dropout_prob, len(self.classes)
        )
        names = class_names(self.classes, list(shown))
        return found, png_bytes(sample_figure(tiles, names, SHOWN))

    def _sampled(
        self, seed: int, config: SamplerConfig, starts: list[int]
    ) -> tuple[Features, Tensor]:
        """Features of all samples, and the images after each of `starts`."""
        wanted = {n for start in starts for n in range(start, start + SHOWN)}
        tasks = [
            SampledBatch(images, seed, config, sorted(wanted.intersection(images)))
            for images in batch_ranges(len(self.labels), self.batch_size)
        ]
        batches: list[Features] = []
        tiles: list[Tensor] = []
        with progress(total=len(self.labels), desc="sample", unit="image") as bar:
            for features, shown in self.team.map(Networks.sample, tasks):
                batches.append(features)
                tiles += shown
                bar.update(len(features.values))
        if not self.team.is_main:
            return Features(torch.empty(0), None), torch.empty(0)
        return Features.join(batches), torch.stack(tiles)


def evaluate_generation(run: Path, data: Recipe, options: GenerationOptions) -> list[str]:
    """Measure generators against the images of a recipe; writes REPORT and PICTURE.

    Where images are held out, they are measured against the others too, as the floor. Returns the
    lines to print, in the main process. InputError when anything is missing.
    """
    recipe = run_recipe(run, options.settings or ())
    with open_evaluation(run, data, recipe, options) as evaluation:
        measured = evaluation.measure(options.seed, recipe.sample)
    if measured is None or evaluation.real is None:
        return []
    found, shown = measured
    floor, heldout = None, evaluation.real.heldout
    if heldout:
        floor = fidelity(heldout, evaluation.real.images, evaluation.facts.extractor)
    report = {
        "run": named(run),
        **evaluation.report,
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


@contextmanager
def open_evaluation(
    run: Path, data: Recipe, recipe: Recipe, options: GenerationOptions
) -> Iterator[Evaluation]:
    """Load the networks of a run and take the features of the real images; InputError."""
    require_enough(options.number)
    classes = read_classes(run)
    labels = balanced(len(classes), options.number)
    weights = options.weights.absolute() if options.weights else None
    reached = data if options.workers is None else reachable(data)
    job = EvaluationJob(run.absolute(), replace(options, weights=weights), labels, reached)
    with open_team(partial(open_networks, job), options.workers, options.address) as team:
        team.prepare()
        (facts,) = team.agree(list(team.map(Networks.facts, [0])))
        require_enough(facts.real[0])
        real = real_features(team, facts, data.data.heldout)
        report = {
            "tokenizer": facts.tokenizer,
            "weights": options.generator_weights,
            "generated": len(labels),
            "real": len(real.images.values) if real else 0,
            "seed": options.seed,
            "extractor": facts.extractor.name,
            "extractor_sha256": facts.extractor.weights,
            "data": as_table(data.data),
            "versions": {"nvg": __version__, "torch": torch.__version__},
        }
        dropout = recipe.generator.train.class_dropout_prob
        yield Evaluation(team, facts, labels, options.batch_size, classes, dropout, real, report)


def balanced(classes: int, number: int) -> list[int]:
    """So many labels, each class as often as any other, but for the rest; -1 without classes."""
    if number < 1:
        raise InputError("-n must be at least 1")
    ids = list(range(classes)) or [-1]
    return sorted(ids[n % len(ids)] for n in range(number))
