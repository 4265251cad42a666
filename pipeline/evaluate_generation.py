"""The evaluation of generators: samples balanced over the classes against real images."""

import hashlib
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, save
from torch import Tensor

from nvg import __version__
from nvg.config import as_table
from nvg.distributed import default_device
from nvg.errors import InputError
from nvg.files import write_atomic
from nvg.metrics.generation import Features, fidelity
from nvg.pretrained.inception import Extractor, load_extractor
from nvg.progress import progress
from nvg.sampling.generators import Generators
from nvg.view.figures import png_bytes, sample_figure
from pipeline.images.blocks import RowImages
from pipeline.recipe import Recipe, load_recipe
from pipeline.run_weights import open_generators
from pipeline.sources import Row, open_source, split_rows

REPORT, PICTURE = "generation.json", "generation.png"
BATCH = 64
SHOWN_CLASSES, SHOWN = 10, 8  # of the picture


@dataclass(frozen=True, kw_only=True)
class GenerationOptions:
    """The options of the verb: how many images, and what measures them."""

    number: int = 50_000
    """Generated images, balanced over the classes."""
    seed: int = 0
    settings: list[str] | None = None
    """Overrides of the run's recipe."""
    generator_weights: str = "ema"
    """ema or raw."""
    real: int | None = None
    """Upper limit of real images, evenly spaced; precision and recall need its square in memory."""
    extractor: str
    weights: Path | None = None
    """Of the extractor."""
    out: Path | None = None
    """Folder of the report, by default the run."""


def evaluate_generation(run: Path, data: Recipe, options: GenerationOptions) -> list[str]:
    """Measure generators against the images of a recipe; writes REPORT and PICTURE.

    Where images are held out, they are measured against the others too, as the floor. Returns the
    lines to print. InputError when anything is missing.
    """
    extractor = load_extractor(options.extractor, options.weights, default_device())
    generators = open_generators(run, options.generator_weights)
    recipe = load_recipe(run / "config.toml", options.settings or ())
    labels = balanced(len(generators.classes), options.number)
    size = generators.detokenizer.config.image_size
    source = open_source(data.data)
    split = split_rows(source.rows, data.data.heldout)
    rows, heldout = (_evenly(part, options.real) for part in split)
    real = _reference(RowImages(source, rows, size), extractor, data, size)
    made, shown = _generated(generators, labels, options.seed, recipe, extractor)
    found = fidelity(made, real, extractor)
    floor = None
    if heldout:
        floor = fidelity(_features(RowImages(source, heldout, size), extractor), real, extractor)
    report = {
        "run": str(run),
        "tokenizer": generators.tokenizer,
        "weights": options.generator_weights,
        "generated": len(labels),
        "real": len(real.values),
        "seed": options.seed,
        "sample": as_table(recipe.sample),
        "extractor": extractor.name,
        "extractor_sha256": extractor.weights,
        "data": as_table(data.data),
        "versions": {"nvg": __version__, "torch": torch.__version__},
        "result": found,
        "floor": floor,
    }
    folder = options.out or run
    write_atomic(folder / REPORT, json.dumps(report, indent=1).encode())
    write_atomic(folder / PICTURE, shown)
    lines = _lines(f"{len(labels)} generated", found)
    if floor:
        lines += _lines(f"{len(heldout)} real, held out", floor)
    return [*lines, f"wrote {folder / REPORT} and {folder / PICTURE}"]


def balanced(classes: int, number: int) -> list[int]:
    """So many labels, each class as often as any other, but for the rest; -1 without classes."""
    if number < 1:
        raise InputError("-n must be at least 1")
    ids = list(range(classes)) or [-1]
    return sorted(ids[n % len(ids)] for n in range(number))


def _evenly(rows: list[Row], most: int | None) -> list[Row]:
    """At most `most` rows, evenly spaced."""
    if most is None or len(rows) <= most:
        return rows
    return [rows[n * len(rows) // most] for n in range(most)]


def _generated(
    generators: Generators, labels: list[int], seed: int, recipe: Recipe, extractor: Extractor
) -> tuple[Features, bytes]:
    """Features of the samples, and a picture of the first of some classes."""
    first = {label: labels.index(label) for label in sorted(set(labels))[:SHOWN_CLASSES]}
    wanted = {n for start in first.values() for n in range(start, start + SHOWN)}
    tiles: list[Tensor] = []

    def batches() -> Iterator[Tensor]:
        done = 0
        for _, pixels in generators.batches(labels, seed, recipe.sample):
            for offset in range(len(pixels)):
                if done + offset in wanted:
                    tiles.append(pixels[offset].cpu())
            done += len(pixels)
            yield pixels

    features = Features.of(extractor, batches())
    names = generators.names(list(first))
    return features, png_bytes(sample_figure(torch.stack(tiles), names, SHOWN))


def _reference(images: RowImages, extractor: Extractor, data: Recipe, size: int) -> Features:
    """Features of the real images, cached for the user under a hash of all they depend on."""
    depends_on = [
        images.source.fingerprint(),
        str(data.data.heldout),
        str(len(images)),
        str(size),
        extractor.name,
        extractor.weights,
    ]
    key = hashlib.sha256("\n".join(depends_on).encode()).hexdigest()
    root = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "nvg"
    path = root / f"features-{key[:32]}.safetensors"
    own = ":" in extractor.name  # a user's code may change under one name
    if path.exists() and not own:
        kept = load_file(path)
        return Features(kept["values"], kept.get("logits"))
    found = _features(images, extractor)
    if not own:
        tensors = {"values": found.values}
        tensors |= {} if found.logits is None else {"logits": found.logits}
        write_atomic(path, save(tensors))
    return found


def _features(images: RowImages, extractor: Extractor) -> Features:
    """Features of rows of a source, read batch by batch."""
    starts = range(0, len(images), BATCH)

    def batches() -> Iterator[Tensor]:
        for start in progress(starts, desc="real images", unit="batch"):
            rows = np.arange(start, min(start + BATCH, len(images)))
            yield images.batch(rows).tensors(default_device())[0]

    return Features.of(extractor, batches())


def _lines(name: str, found: dict[str, Any]) -> list[str]:
    line = (
        f"{name}: {found['frechet_name']} {found['frechet']:.4f}, "
        f"KID {found['kid']:.5f} ± {found['kid_std']:.5f}, "
        f"precision {found['precision']:.4f}, recall {found['recall']:.4f}"
    )
    if "inception_score" in found:
        line += f", IS {found['inception_score']:.3f} ± {found['inception_score_std']:.3f}"
    return [line]
