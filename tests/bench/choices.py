"""Which choice matters: generators that differ in one choice, by seed, as a table.

`python -m tests.bench choices` trains all those of digits (about 90 minutes on 2 cores).
`python -m tests.bench.choices OUT PART PARTS` trains every PARTS-th beginning with PART and appends
a line a run to OUT, for several processes; `python -m tests.bench.choices OUT` prints the table of
OUT. `--dataset cifar10` does so with CIFAR-10: NVG_TEST_DATA names the folder of its Parquet files,
NVG_CIFAR_CLASSIFIER the file of the classifier (`tests/bench/cifar_classifier.py`).

Every run of a dataset sees the same images, and as many sequences a step. Bits are of the held-out
images' tokens given their structure, by the EMA weights; the distance is Frechet's between features
of a network trained on the real images (`tests/bench/choice_datasets.py`). It is not FID.
"""

import argparse
import hashlib
import json
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import mean
from typing import Any

import numpy as np
import torch
from filelock import FileLock

from nvg.metrics.frechet import Moments, frechet_distance
from nvg.sampling.generators import Generators, load_generators
from nvg.store import open_store
from pipeline.evaluation.likelihood import likelihood_of
from pipeline.recipe import Recipe
from pipeline.tokenize.dataset import tokenize_dataset
from pipeline.train import fit_autoencoder, fit_generator
from tests.bench.choice_datasets import DATASETS, Dataset

SEEDS = (0, 1, 2)
PER_CLASS = 20
DIGITS = DATASETS["digits"]
ALL_STAGES = "all stages"  # stands for the dataset's own settings of them
PHI, STAGE_PHI = "autoencoder.model.phi=residual", "autoencoder.model.phis=per-stage"
TOP_HALF = "sample.split=top-half"
VARIANT = "generator.variant."
TRAINED: dict[str, tuple[str, ...]] = {
    "classic": (),
    "phi: residual, four": (PHI,),
    "phi: residual, per stage": (PHI, STAGE_PHI),
    "child order: merging": ("autoencoder.model.child_order=merging",),
    "all stages in a step": (ALL_STAGES,),
    "all stages, shared noise": (ALL_STAGES, VARIANT + "flow_noise=shared"),
    "time: logit-normal": (VARIANT + "flow_time=logit-normal",),
    "canvas: tokens": (VARIANT + "canvas_condition=tokens",),
    "flow loss: all channels": (VARIANT + "flow_loss=all",),
    "skip: none": (VARIANT + "skip=none",),
    "scale per stage, learnt start": (
        VARIANT + "canvas_scale=per-stage",
        VARIANT + "content_start=learnt",
    ),
    "first weights: xavier": (VARIANT + "initialisation=xavier",),
    "corruption: 0.1": ("generator.train.corruption=0.1",),
    "corruption: 0.3": ("generator.train.corruption=0.3",),
    # What the base says for the classic runs would come before the profile.
    "release": ("profile=release", ALL_STAGES, PHI, STAGE_PHI, TOP_HALF),
}
SAMPLED: dict[str, tuple[str, ...]] = {
    "split: odds": ("sample.split=gumbel-odds",),
    "split: top half": (TOP_HALF,),
    "noise: shared": ("sample.flow_noise=shared",),
    "top-p: late": ("sample.top_p_curve=late",),
    "flow steps: shifted": ("sample.time_grid=shifted",),
}
"""Ways to sample from the classic run."""


def main() -> None:
    """All runs of the digits in this process, and the table."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "runs.jsonl"
        train_part(out, 0, 1)
        print("\n".join(table(out)))


def train_part(out: Path, part: int, parts: int, dataset: Dataset = DIGITS) -> None:
    """Every `parts`-th of the runs, seed by seed; a line each, done ones are skipped."""
    done = {(line["name"], line["seed"]) for line in lines_of(out)}
    jobs = [(seed, name) for seed in SEEDS for name in TRAINED]
    for seed, name in jobs[part::parts]:
        if (name, seed) not in done:
            lines = list(run(name, seed, out.with_suffix(".tokens"), dataset))
            with out.open("a") as file:
                file.writelines(json.dumps(line) + "\n" for line in lines)


def settings_of(name: str, seed: int, dataset: Dataset) -> list[str]:
    """What a run sets in the dataset's recipe."""
    seeds = (f"autoencoder.train.seed={seed}", f"generator.train.seed={seed}")
    settings = [*dataset.base, *seeds]
    for each in TRAINED[name]:
        settings += dataset.all_stages if each == ALL_STAGES else [each]
    return settings


def run(name: str, seed: int, cache: Path, dataset: Dataset = DIGITS) -> Iterator[dict[str, Any]]:
    """Tokenizer, store and generators of one choice; what they measure, by way of sampling."""
    settings = settings_of(name, seed, dataset)
    recipe = dataset.recipe(settings, cache)
    tokenizer = tokenized(recipe, cache)
    with tempfile.TemporaryDirectory() as folder:
        began, worked = time.perf_counter(), time.process_time()
        fit_generator(recipe, str(tokenizer / "tokens.vgs"), Path(folder) / "run", None, False)
        seconds, cpu = time.perf_counter() - began, time.process_time() - worked
        generators = load_generators(Path(folder) / "run")
        store = open_store(str(tokenizer / "tokens.vgs"))
        bits = likelihood_of(generators, store, most=dataset.heldout).token_bits
        facts = {"seed": seed, "bits": bits, "seconds": seconds, "cpu": cpu}
        yield {"name": name, **facts, **quality(recipe, generators, dataset)}
        for way, more in SAMPLED.items() if name == "classic" else ():
            sampled = dataset.recipe([*settings, *more], cache)
            yield {"name": way, **facts, **quality(sampled, generators, dataset)}


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


def quality(recipe: Recipe, generators: Generators, dataset: Dataset) -> dict[str, float]:
    """Accuracy of a classifier of real images on generated ones, and their Frechet distance."""
    labels = [label for label in range(10) for _ in range(PER_CLASS)]
    pixels = generators.images(labels, 1, recipe.sample).numpy()
    found = dataset.judge(recipe, pixels, np.array(labels))
    real, made = Moments(), Moments()
    real.add(torch.from_numpy(found.real))
    made.add(torch.from_numpy(found.made))
    return {"accuracy": found.accuracy, "distance": frechet_distance(real, made)}


def table(out: Path) -> list[str]:
    """Means over the seeds, and the values of each; CPU time of training against classic's."""
    lines = list(lines_of(out))
    classic = {line["seed"]: line["cpu"] for line in lines if line["name"] == "classic"}
    head = "| | held-out bits | classifier accuracy, % | Frechet distance | seconds | time |"
    rows = [head, "|---|---|---|---|---|---|"]
    for name in [*TRAINED, *SAMPLED]:
        own = sorted(
            (line for line in lines if line["name"] == name), key=lambda line: line["seed"]
        )
        ratios = [line["cpu"] / classic[line["seed"]] for line in own if line["seed"] in classic]
        if own:
            cells = [
                cell([line["bits"] for line in own], ".1f"),
                cell([100 * line["accuracy"] for line in own], ".1f"),
                cell([line["distance"] for line in own], ".2f"),
                f"{mean(line['seconds'] for line in own):.0f}",
                f"{mean(ratios):.2f}" if ratios else "",
            ]
            rows.append(f"| {name} | {' | '.join(cells)} |")
    return rows


def cell(values: list[float], form: str) -> str:
    """The mean, and every value."""
    return f"{mean(values):{form}} ({', '.join(f'{value:{form}}' for value in values)})"


def lines_of(out: Path) -> Iterator[dict[str, Any]]:
    """The runs that a file has so far."""
    if out.exists():
        yield from map(json.loads, out.read_text().splitlines())


def command_line() -> None:
    """Train a part of the runs, or print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path)
    parser.add_argument("part", type=int, nargs="*", help="PART and PARTS")
    parser.add_argument("--dataset", choices=DATASETS, default="digits")
    given = parser.parse_args()
    if given.part:
        part, parts = given.part
        train_part(given.out, part, parts, DATASETS[given.dataset])
    else:
        print("\n".join(table(given.out)))


if __name__ == "__main__":
    command_line()
