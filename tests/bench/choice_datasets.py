"""The datasets of the study of choices: sizes small enough for it, and how samples are judged.

Digits: features of a small network trained on the real ones, a classifier beside it. CIFAR-10:
both of `tests/bench/cifar_classifier.py`, whose held-out images no other part here sees either.
"""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow
import pyarrow.parquet
from filelock import FileLock

from cli.demo import accuracies
from nvg.errors import InputError
from pipeline.images.recipe_images import open_images
from pipeline.recipe import Recipe, load_recipe
from pipeline.sources import Row, split_rows
from tests.bench.cifar_classifier import cifar_recipe, load_classifier, read_images

Pixels = np.ndarray[Any, Any]
CLASSIFIER = "NVG_CIFAR_CLASSIFIER"
"""Names the file of CIFAR-10's classifier; it is trained to that place when it is missing."""

CLASSIC = (  # the demo's recipe makes these choices otherwise
    "autoencoder.model.phi=blend",
    "autoencoder.model.phis=four",
    "sample.split=gumbel",
    "sample.flow_steps=25",
    "sample.content_guidance=3.5",
    "sample.structure_guidance=2.5",
)
DIGITS_BASE = (
    *CLASSIC,
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
CIFAR_BASE = (
    *CLASSIC,
    "autoencoder.model.base_channels=16",
    "autoencoder.model.blocks=1",
    "autoencoder.model.latent_dim=16",
    "autoencoder.model.codebook_size=512",
    "autoencoder.train.steps=300",
    "autoencoder.train.batch_size=32",
    "autoencoder.train.lr=1e-3",
    "autoencoder.train.warmup=50",
    "autoencoder.train.ema=0.99",
    "generator.preset=small4",
    "generator.content.depth=2",
    "generator.structure.depth=2",
    "generator.train.steps=400",
    "generator.train.batch_size=42",
    "generator.train.ema=0.99",
    "generator.train.warmup=50",
    "sample.flow_steps=12",
)
CIFAR_EVERY = 5
"""Of the 50,000 images every fifth is used: 8,000 to train on and the 2,000 held-out ones."""


@dataclass(frozen=True)
class Judgement:
    """What a judge finds in generated images; features are [B, F]."""

    accuracy: float
    """The part of them whose class the classifier names."""
    made: Pixels
    """Their features."""
    real: Pixels
    """Features of real images."""


@dataclass(frozen=True)
class Dataset:
    """A dataset of the study."""

    recipe: Callable[[list[str], Path], Recipe]
    """With these settings; the folder is kept between runs."""
    base: tuple[str, ...]
    """Settings of every run, which make it small."""
    all_stages: tuple[str, ...]
    """All stages of an image in a step: about as many sequences a step, the same peak rate."""
    heldout: int
    """Held-out images whose bits are counted, the first ones."""
    judge: Callable[[Recipe, Pixels, Pixels], Judgement]
    """Of generated pixels uint8 [B, 3, D, D] and the labels [B] they were asked for."""


def _digits_recipe(settings: list[str], _folder: Path) -> Recipe:
    return load_recipe("datasets/digits.toml", settings)


def judge_digits(recipe: Recipe, pixels: Pixels, labels: Pixels) -> Judgement:
    """Accuracy of the demo's classifier; the hidden layer [B, 64] of a network beside it."""
    _, accuracy = accuracies(recipe, pixels, labels)
    images = open_images(recipe)
    rows = split_rows(images.source.rows, recipe.data.heldout)[0]
    real = images.center_crops(rows).batch(np.arange(len(rows))).pixels
    features = _digit_features(real, rows, pixels)
    return Judgement(accuracy, features[1], features[0])


def _digit_features(real: Pixels, rows: Sequence[Row], made: Pixels) -> list[Pixels]:
    from sklearn.neural_network import MLPClassifier

    grey = [each.mean(axis=1).reshape(len(each), -1) / 255 for each in (real, made)]
    network = MLPClassifier((64,), random_state=0, max_iter=300).fit(
        grey[0], [row.label for row in rows]
    )
    return [np.maximum(g @ network.coefs_[0] + network.intercepts_[0], 0) for g in grey]


def _cifar_recipe(settings: list[str], folder: Path) -> Recipe:
    classifier_path()  # before long work
    return cifar_recipe([*settings, f'data.path="{cifar_part(folder)}"'])


def cifar_part(folder: Path) -> Path:
    """A Parquet file in `folder` of every fifth image: held out are the same images as of all."""
    part = folder / "images.parquet"
    folder.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{part}.lock"):
        if not part.exists():
            folder = Path(cifar_recipe().data.path)
            files = sorted(folder.glob("cifar10-train-*.parquet"))
            if not files:
                raise InputError(f"NVG_TEST_DATA {folder} holds no cifar10-train-*.parquet")
            table = pyarrow.concat_tables([pyarrow.parquet.read_table(file) for file in files])
            picked = table.take(np.arange(0, len(table), CIFAR_EVERY))
            half = part.with_suffix(".half")
            # Training reads images at random, and with each its whole row group.
            pyarrow.parquet.write_table(picked, half, row_group_size=20)
            half.rename(part)
    return part


def classifier_path() -> Path:
    """Where CIFAR-10's classifier is, or is to be. InputError where no variable says so."""
    path = os.environ.get(CLASSIFIER, "")
    if not path:
        raise InputError(f"{CLASSIFIER} is not set: name the file of the classifier of CIFAR-10")
    return Path(path)


def judge_cifar(recipe: Recipe, pixels: Pixels, labels: Pixels) -> Judgement:
    """Accuracy and features [B, 128] of CIFAR-10's classifier; real are the held-out images."""
    classifier = load_classifier(classifier_path())
    made, classes = classifier.read(pixels)
    rows = split_rows(open_images(recipe).source.rows, recipe.data.heldout)[1]
    real, _ = classifier.read(read_images(recipe, rows)[0])
    return Judgement(
        float((classes.cpu().numpy() == labels).mean()), made.cpu().numpy(), real.cpu().numpy()
    )


DATASETS: dict[str, Dataset] = {
    "digits": Dataset(
        _digits_recipe,
        DIGITS_BASE,
        (
            "generator.train.stages_per_image=5",
            "generator.train.batch_size=16",
            "generator.train.lr=1.6e-2",
        ),
        360,
        judge_digits,
    ),
    "cifar10": Dataset(
        _cifar_recipe,
        CIFAR_BASE,
        (
            "generator.train.stages_per_image=7",
            "generator.train.batch_size=6",
            "generator.train.lr=2.8e-2",
        ),
        1000,
        judge_cifar,
    ),
}
