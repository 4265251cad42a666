"""The whole path on real handwritten digits: ./justw demo.

Train a tokenizer, tokenize with Ray, look at a hierarchy, train the generators from the store,
sample, and classify the generated digits with a classifier trained on real ones. Steps that are
done already are reused.
"""

import resource
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch

from cli.log import say, show_log
from nvg.errors import InputError, stopped
from nvg.files import write_atomic
from nvg.sampling.generators import load_generators
from nvg.store import Store, open_store
from nvg.view.decoder import store_detokenizer
from nvg.view.figures import hierarchy_figure, png_bytes
from nvg.view.text import row_lines, store_lines
from pipeline.images.recipe_images import open_images
from pipeline.recipe import Recipe, load_recipe
from pipeline.sampling.options import SampleOptions
from pipeline.sampling.sample import write_samples
from pipeline.sources import split_rows
from pipeline.tokenize.dataset import PassMode, tokenize_dataset
from pipeline.tokenize.engine import Engine
from pipeline.train import fit_autoencoder, fit_generator

RECIPE = Path("datasets/digits.toml")
OUT = Path("runs/demo")
Pixels = np.ndarray[Any, Any]

PER_CLASS = 100
SHOWN = 12
SHOWN_ROW = 3
REAL_WANTED, MADE_WANTED = 0.95, 0.95
SEED = 1


def main() -> None:
    """Run every step, print its time, and exit with 1 when the check fails."""
    show_log()
    try:
        passed = run(OUT)
    except InputError as error:
        print(f"demo: {error}; or remove {OUT} and start again", file=sys.stderr)
        raise SystemExit(2) from None
    except KeyboardInterrupt as error:
        end = stopped(error, "the next call continues")
        print(f"demo: {end}", file=sys.stderr)
        raise SystemExit(end.code) from None
    raise SystemExit(0 if passed else 1)


def run(out: Path) -> bool:
    """All steps into `out`; whether enough generated digits are classified as their class."""
    recipe = load_recipe(RECIPE)
    autoencoder, store, generator = out / "autoencoder", f"{out}/digits.vgs", out / "generator"
    began = time.perf_counter()
    with timed("1/6 train the autoencoder"):
        say(fit_autoencoder(recipe, autoencoder, resume=True))
    with timed("2/6 tokenize with Ray"):
        report = tokenize_dataset(recipe, autoencoder, store, Engine.RAY, PassMode.RESUME)
        say(report.lines()[:1])
    with timed("3/6 verify and inspect the store"):
        opened = open_store(store)
        say(opened.verify() or ["intact"])
        say([*store_lines(opened), *row_lines(opened, SHOWN_ROW)])
        write_hierarchy(opened, SHOWN_ROW, out / "hierarchy.png")
    with timed("4/6 train the generators"):
        say(fit_generator(recipe, store, generator, None, resume=True))
    with timed("5/6 sample"):
        write_samples(generator, SampleOptions(number=SHOWN, seed=SEED, png=out / "samples.png"))
    with timed("6/6 classify the generated digits"):
        real, made = generated_accuracy(recipe, generator)
        say([f"classifier accuracy on real held-out digits {real:.1%} ({REAL_WANTED:.0%} wanted)"])
        say([f"on {10 * PER_CLASS} generated ones {made:.1%} ({MADE_WANTED:.0%} wanted)"])
    minutes = (time.perf_counter() - began) / 60
    say([f"\ndone in {minutes:.1f} minutes, at most {_peak_gib():.2f} GiB a process; look at"])
    say([f"  {autoencoder / 'reconstructions.png'}  held-out digits and what the tokens keep"])
    say([f"  {out / 'hierarchy.png'}  structure map and canvas after each stage"])
    say([f"  {generator / 'curves.png'}  losses of training and of held-out digits"])
    say([f"  {out / 'samples.png'}  generated digits, a row per class"])
    return real >= REAL_WANTED and made >= MADE_WANTED


def generated_accuracy(recipe: Recipe, generator: Path) -> tuple[float, float]:
    """Accuracies (real held-out, generated) on `PER_CLASS` generated digits of each class."""
    labels = [digit for digit in range(10) for _ in range(PER_CLASS)]
    pixels = load_generators(generator).images(labels, SEED + 1, recipe.sample)
    return accuracies(recipe, pixels.cpu().numpy(), np.array(labels))


def accuracies(recipe: Recipe, generated: Pixels, labels: Pixels) -> tuple[float, float]:
    """Classifier accuracy on (real held-out digits, generated digits uint8 [B, 3, D, D])."""
    images = open_images(recipe)
    parts = split_rows(images.source.rows, recipe.data.heldout)
    grey = [
        _features(images.center_crops(rows).batch(np.arange(len(rows))).pixels) for rows in parts
    ]
    truth = [np.array([row.label for row in rows]) for rows in parts]
    from sklearn.svm import SVC  # seconds to import

    classifier = SVC(C=10.0).fit(grey[0], truth[0])
    real = float((classifier.predict(grey[1]) == truth[1]).mean())
    made = float((classifier.predict(_features(generated)) == labels).mean())
    return real, made


def _features(pixels: Pixels) -> Pixels:
    grey: Pixels = pixels.mean(axis=1).reshape(len(pixels), -1) / 255
    return grey


def write_hierarchy(store: Store, row: int, png: Path) -> None:
    """Structure maps and canvases of one row of a store."""
    store.token_entries([row])  # refuses a row that has no tokens
    leaves = torch.from_numpy(store.leaves[row])
    content = torch.from_numpy(store.content[row].astype("int64"))
    write_atomic(png, png_bytes(hierarchy_figure(store_detokenizer(store), leaves, content)))


@contextmanager
def timed(name: str) -> Iterator[None]:
    """Print a step's name, and after it its time."""
    print(f"\n== {name}", flush=True)
    began = time.perf_counter()
    yield
    print(f"   {time.perf_counter() - began:.1f} s", flush=True)


def _peak_gib() -> float:
    kib = max(
        resource.getrusage(who).ru_maxrss
        for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    )
    return kib / 2**20


if __name__ == "__main__":
    main()
