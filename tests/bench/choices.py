"""Which choice matters: generators of digits that differ in one choice, by seed, as a table.

`python -m tests.bench choices` trains them all (about 90 minutes on 2 cores). `python -m
tests.bench.choices OUT PART PARTS` trains every PARTS-th beginning with PART and appends a line a
run to OUT, for several processes; `python -m tests.bench.choices OUT` prints the table of OUT.

Every run sees 8 views of 1,437 digits and as many sequences a step. Bits are of the held-out
digits' tokens given their structure, by the EMA weights; the distance is Frechet's between
features of a small network trained on the real digits. It is not FID.
"""

import hashlib
import json
import math
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import mean
from typing import Any

import numpy as np
import torch
from filelock import FileLock

from cli.demo import accuracies
from nvg.generator.generator import TrainingExample
from nvg.metrics.frechet import Moments, frechet_distance
from nvg.sampling.generators import Generators, load_generators
from nvg.sequence import Sequences
from nvg.tokenizer.autoencoder import load_autoencoder
from pipeline.images.recipe_images import open_images
from pipeline.recipe import Recipe, load_recipe
from pipeline.sources import split_rows
from pipeline.tokenize.dataset import tokenize_dataset
from pipeline.train import fit_autoencoder, fit_generator

SEEDS = (0, 1, 2)
PER_CLASS = 20
BASE = (
    "autoencoder.model.base_channels=16",
    "autoencoder.train.steps=300",
    "autoencoder.train.ema=0.99",
    "generator.content.depth=2",
    "generator.structure.depth=2",
    "generator.train.steps=1000",
    "generator.train.ema=0.99",
    "generator.train.warmup=100",
    'tokenize.views=["center", "random-crop", "random-crop", "random-crop", "random-crop", '
    '"random-crop", "random-crop", "random-crop"]',
    "tokenize.resize=1.125",
)
PHI, STAGE_PHI = "autoencoder.model.phi=residual", "autoencoder.model.phis=per-stage"
ALL = (  # about as many sequences as of one stage of 64 images, at the same peak learning rate
    "generator.train.stages_per_image=5",
    "generator.train.batch_size=16",
    "generator.train.lr=1.6e-2",
)
VARIANT = "generator.variant."
TRAINED: dict[str, tuple[str, ...]] = {
    "classic": (),
    "phi: residual, four": (PHI,),
    "phi: residual, per stage": (PHI, STAGE_PHI),
    "child order: merging": ("autoencoder.model.child_order=merging",),
    "all stages in a step": ALL,
    "all stages, shared noise": (*ALL, VARIANT + "flow_noise=shared"),
    "time: logit-normal": (VARIANT + "flow_time=logit-normal",),
    "canvas: tokens": (VARIANT + "canvas_condition=tokens",),
    "flow loss: all channels": (VARIANT + "flow_loss=all",),
    "skip: none": (VARIANT + "skip=none",),
    "scale per stage, learnt start": (
        VARIANT + "canvas_scale=per-stage",
        VARIANT + "content_start=learnt",
    ),
    "first weights: xavier": (VARIANT + "initialisation=xavier",),
    "release": ("profile=release", *ALL),
}
SAMPLED: dict[str, tuple[str, ...]] = {
    "split: odds": ("sample.split=gumbel-odds",),
    "split: top half": ("sample.split=top-half",),
    "noise: shared": ("sample.flow_noise=shared",),
    "top-p: late": ("sample.top_p_curve=late",),
    "flow steps: shifted": ("sample.time_grid=shifted",),
}
"""Ways to sample from the classic run."""


def main() -> None:
    """All runs in this process, and the table."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "runs.jsonl"
        train_part(out, 0, 1)
        print("\n".join(table(out)))


def train_part(out: Path, part: int, parts: int) -> None:
    """Every `parts`-th of the runs; a line each, done ones are skipped."""
    done = {(line["name"], line["seed"]) for line in _lines(out)}
    jobs = [(seed, name) for seed in SEEDS for name in TRAINED]
    for seed, name in jobs[part::parts]:
        if (name, seed) not in done:
            for line in run(name, seed, out.with_suffix(".tokens")):
                with out.open("a") as file:
                    file.write(json.dumps(line) + "\n")


def run(name: str, seed: int, cache: Path) -> Iterator[dict[str, Any]]:
    """Tokenizer, store and generators of one choice; what they measure, by way of sampling."""
    seeds = (f"autoencoder.train.seed={seed}", f"generator.train.seed={seed}")
    settings = [*BASE, *seeds, *TRAINED[name]]
    recipe = load_recipe("datasets/digits.toml", settings)
    tokenizer = tokenized(recipe, cache)
    with tempfile.TemporaryDirectory() as folder:
        began = time.perf_counter()
        fit_generator(recipe, str(tokenizer / "tokens.vgs"), Path(folder) / "run", None, False)
        seconds = time.perf_counter() - began
        generators = load_generators(Path(folder) / "run")
        bits = heldout_bits(recipe, tokenizer / "autoencoder", generators)
        facts = {"seed": seed, "bits": bits, "seconds": seconds}
        yield {"name": name, **facts, **quality(recipe, generators)}
        for way, more in SAMPLED.items() if name == "classic" else ():
            sampled = load_recipe("datasets/digits.toml", [*settings, *more])
            yield {"name": way, **facts, **quality(sampled, generators)}


def tokenized(recipe: Recipe, cache: Path) -> Path:
    """A folder with the tokenizer and the tokens of a recipe; runs of equal recipes share it."""
    key = hashlib.sha256(repr((recipe.autoencoder, recipe.tokenize)).encode()).hexdigest()[:12]
    folder = cache / key
    folder.mkdir(parents=True, exist_ok=True)
    with FileLock(folder / "lock"):
        if not (folder / "done").exists():
            fit_autoencoder(recipe, folder / "autoencoder", resume=True)
            tokenize_dataset(recipe, folder / "autoencoder", str(folder / "tokens.vgs"))
            (folder / "done").touch()
    return folder


@torch.no_grad()
def heldout_bits(recipe: Recipe, autoencoder: Path, generators: Generators) -> float:
    """Bits of an image's tokens given its structure, over the held-out digits."""
    images = open_images(recipe)
    rows = split_rows(images.source.rows, recipe.data.heldout)[1]
    batch = images.center_crops(rows).batch(np.arange(len(rows)))
    leaves, content, _ = load_autoencoder(autoencoder).tokenize(torch.from_numpy(batch.pixels))
    label = torch.tensor([row.label for row in rows])
    sequences = Sequences(leaves.long(), content, label)
    quantizer = generators.detokenizer.quantizer
    canvases = quantizer.canvases(content, leaves)
    total = 0.0
    for stage in range(quantizer.layout.stages):
        before = canvases[stage - 1] if stage else quantizer.empty_canvas(len(rows))
        stages = torch.full((len(rows),), stage)
        example = TrainingExample(sequences, label, stages, before, canvases[-1])
        terms, _ = generators.content.loss(example)
        total += float(terms["entropy"]) * quantizer.layout.clusters(stage) / math.log(2)
    return total


def quality(recipe: Recipe, generators: Generators) -> dict[str, float]:
    """Accuracy of a classifier of real digits on generated ones, and their Frechet distance."""
    labels = [digit for digit in range(10) for _ in range(PER_CLASS)]
    pixels = generators.images(labels, 1, recipe.sample).numpy()
    _, accuracy = accuracies(recipe, pixels, np.array(labels))
    images = open_images(recipe)
    rows = split_rows(images.source.rows, recipe.data.heldout)[0]
    real = images.center_crops(rows).batch(np.arange(len(rows))).pixels
    ours, theirs = Moments(), Moments()
    for moments, features in zip((ours, theirs), _features(real, rows, pixels), strict=True):
        moments.add(torch.from_numpy(features))
    return {"accuracy": accuracy, "distance": frechet_distance(ours, theirs)}


def _features(real: Any, rows: list[Any], made: Any) -> list[Any]:
    """Hidden layer [images, 64] of a network trained on the real digits, of both."""
    from sklearn.neural_network import MLPClassifier

    grey = [each.mean(axis=1).reshape(len(each), -1) / 255 for each in (real, made)]
    network = MLPClassifier((64,), random_state=0, max_iter=300).fit(
        grey[0], [row.label for row in rows]
    )
    return [np.maximum(g @ network.coefs_[0] + network.intercepts_[0], 0) for g in grey]


def table(out: Path) -> list[str]:
    """Means over the seeds, and the values of each."""
    lines = list(_lines(out))
    head = "| | held-out bits | classifier accuracy, % | Frechet distance | seconds |"
    rows = [head, "|---|---|---|---|---|"]
    for name in [*TRAINED, *SAMPLED]:
        own = sorted(
            (line for line in lines if line["name"] == name), key=lambda line: line["seed"]
        )
        if own:
            cells = [
                _cell([line["bits"] for line in own], ".1f"),
                _cell([100 * line["accuracy"] for line in own], ".1f"),
                _cell([line["distance"] for line in own], ".2f"),
                f"{mean(line['seconds'] for line in own):.0f}",
            ]
            rows.append(f"| {name} | {' | '.join(cells)} |")
    return rows


def _cell(values: list[float], form: str) -> str:
    return f"{mean(values):{form}} ({', '.join(f'{value:{form}}' for value in values)})"


def _lines(out: Path) -> Iterator[dict[str, Any]]:
    if out.exists():
        yield from map(json.loads, out.read_text().splitlines())


if __name__ == "__main__":
    if len(sys.argv) == 4:
        train_part(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
    else:
        print("\n".join(table(Path(sys.argv[1]))))
