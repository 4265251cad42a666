"""What place beside latents does: tokenizers and generators by `space_weight`, as a table.

`python -m tests.bench.space OUT PART PARTS` trains every PARTS-th run beginning with PART (3 to 5
minutes each on one core) and appends a line a run to OUT; runs that have a line are skipped.
`python -m tests.bench.space OUT` prints the tables of OUT. The sizes are those of the study of
choices (`tests/bench/choice_datasets.py`), which says what CIFAR-10 needs; without NVG_TEST_DATA
only digits are run.

Weight 0 is `greedy`. `tests/bench/space_measures.py` says what the columns measure.
"""

import json
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

from nvg.metrics.reconstruction import reconstruction_metrics
from nvg.sampling.generators import load_generators
from nvg.store import open_store
from nvg.tokenizer.autoencoder import load_autoencoder
from pipeline.evaluation.likelihood import likelihood_of
from pipeline.recipe import Recipe
from pipeline.train import fit_generator
from tests.bench.choice_datasets import DATASETS
from tests.bench.choices import cell, lines_of, quality, tokenized
from tests.bench.space_measures import (
    heldout_images,
    mask_agreement,
    rebuilt_agreement,
)

SEEDS = (0, 1, 2)
WEIGHTS = (0.0, 0.7, 1.4, 2.8)
SHOWN_STAGES = (1, 2, 3)


def train_part(out: Path, part: int, parts: int) -> None:
    """Every `parts`-th of the runs; a line each, done ones are skipped."""
    done = {(line["data"], line["seed"], line["weight"]) for line in lines_of(out)}
    names = [name for name in DATASETS if name != "cifar10" or "NVG_TEST_DATA" in os.environ]
    jobs = [(name, seed, weight) for name in names for seed in SEEDS for weight in WEIGHTS]
    for job in jobs[part::parts]:
        if job not in done:
            line = run(*job, out)
            with out.open("a") as file:
                file.write(json.dumps(line) + "\n")


def run(name: str, seed: int, weight: float, out: Path) -> dict[str, Any]:
    """Tokenizer, store and generators of one weight, and what they measure."""
    dataset, cache = DATASETS[name], out.with_suffix(f".{name}")
    settings = [
        *dataset.base,
        'autoencoder.model.builder="greedy+space"',
        f"autoencoder.model.space_weight={weight}",
        f"autoencoder.train.seed={seed}",
        f"generator.train.seed={seed}",
    ]
    recipe = dataset.recipe(settings, cache)
    folder = tokenized(recipe, cache)
    line = {"data": name, "seed": seed, "weight": weight}
    line |= tokenizer_measures(recipe, folder / "autoencoder", dataset.heldout)
    with tempfile.TemporaryDirectory() as run:
        fit_generator(recipe, str(folder / "tokens.vgs"), Path(run) / "run", None, False)
        generators = load_generators(Path(run) / "run")
    model = load_autoencoder(folder / "autoencoder")
    found = likelihood_of(generators, open_store(str(folder / "tokens.vgs")), most=dataset.heldout)
    line |= {"content_bits": found.token_bits, "structure_bits": found.structure_bits}
    line["flow"] = found.flow
    line["mask"] = mask_agreement(recipe, generators, model)
    return line | quality(recipe, generators, dataset)


def tokenizer_measures(recipe: Recipe, autoencoder: Path, most: int) -> dict[str, Any]:
    """PSNR of the first held-out images by stage, and how far their maps are found again."""
    model = load_autoencoder(autoencoder)
    images = heldout_images(recipe, most)
    return {
        "psnr": reconstruction_metrics(model, images).stage_psnr,
        "again": rebuilt_agreement(model, images),
    }


def tables(out: Path) -> list[str]:
    """A table for each set of images: means over the seeds, and the values of each."""
    rows = []
    for name in DATASETS:
        own = [line for line in lines_of(out) if line["data"] == name]
        if own:
            rows += [f"{name}, held out; seeds in brackets", "", *_table(own), ""]
    return rows


def _table(lines: list[dict[str, Any]]) -> list[str]:
    columns = list(_columns(lines[0]))
    rows = [f"| weight | {' | '.join(columns)} |", "|---" * (len(columns) + 1) + "|"]
    for weight in WEIGHTS:
        own = [line for line in lines if line["weight"] == weight]
        shown = [_columns(line) for line in sorted(own, key=lambda line: line["seed"])]
        if shown:
            cells = [cell([each[name][0] for each in shown], shown[0][name][1]) for name in columns]
            rows.append(f"| {weight:g} | {' | '.join(cells)} |")
    return rows


def _columns(line: dict[str, Any]) -> dict[str, tuple[float, str]]:
    """What the table shows of a run, by column: a value and its format."""
    structure, content = line["structure_bits"], line["content_bits"]
    shown = {
        "PSNR, dB": (line["psnr"][-1], ".2f"),
        "content bits": (content, ".1f"),
        "structure bits": (structure, ".1f"),
        "both": (content + structure, ".1f"),
        "mask followed": (line["mask"], ".3f"),
        "accuracy, %": (100 * line["accuracy"], ".1f"),
        "distance": (line["distance"], ".2f"),
    }
    for stage in SHOWN_STAGES:
        shown[f"PSNR {stage}"] = (line["psnr"][stage], ".2f")
        shown[f"map {stage} again"] = (line["again"][stage], ".3f")
        shown[f"flow {stage}"] = (line["flow"][stage - 1], ".3f")
    return shown


if __name__ == "__main__":
    if len(sys.argv) == 4:
        train_part(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
    else:
        print("\n".join(tables(Path(sys.argv[1]))))
