"""`python -m tests.gpu train`: a whole run on CIFAR-10, as evidence, in pieces of minutes.

A classifier (to read samples with, and whose features a Frechet distance takes), the tokenizer,
the store, both generators with held-out losses, samples, and their measures beside those of real
held-out images. Every piece goes on where it was stopped: by SIGINT, or by its time box.

Sizes. A tokenizer of 64 channels takes about 4 GFLOP an image and step with a patch discriminator;
`small8` with 65 tokens takes 6 x 65 x 31 M parameters = 12 GFLOP a sequence and step for content,
a quarter of it for structure. 12,000 steps of 256 images and 20,000 of 256 sequences are 12 and 77
PFLOP: at 10 to 15 % of an H100's bfloat16 peak about 15 minutes.
"""

import argparse
import json
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np
import torch

from cli.log import show_log
from nvg.errors import InputError
from nvg.files import write_atomic
from nvg.metrics.frechet import Moments, frechet_distance
from nvg.sampling.generators import load_generators
from nvg.store import Split, open_store
from nvg.view.figures import png_bytes, sample_figure
from pipeline.evaluation.likelihood import likelihood_of
from pipeline.images.recipe_images import open_images
from pipeline.recipe import Recipe
from pipeline.sources import split_rows
from pipeline.tokenize.dataset import PassMode, tokenize_dataset
from pipeline.tokenize.engine import Engine
from pipeline.train import fit_autoencoder, fit_generator
from tests.bench.cifar_classifier import (
    CLASSES,
    ClassifierTraining,
    cifar_recipe,
    heldout_accuracy,
    load_classifier,
    read_images,
)

UNFINISHED = 75  # exit code of a run that is to be called again
SHOWN = 10  # of each class in the picture
SETTINGS = (
    "autoencoder.model.phi=residual",
    "autoencoder.model.phis=per-stage",
    "autoencoder.train.steps=12000",
    "autoencoder.train.checkpoint_every=1000",
    "autoencoder.train.discriminator.kind=patch",
    'tokenize.views=["center", "flip", "random-crop", "random-crop-flip"]',
    "tokenize.resize=1.125",
    "generator.train.steps=20000",
    "generator.train.batch_size=256",
    "generator.train.lr=3e-4",
    "generator.train.ema=0.999",
    "sample.split=top-half",
)
TINY = (
    "data.heldout=20",
    "autoencoder.model.base_channels=8",
    "autoencoder.model.blocks=1",
    "autoencoder.model.latent_dim=8",
    "autoencoder.model.codebook_size=64",
    "autoencoder.train.steps=8",
    "autoencoder.train.batch_size=16",
    "autoencoder.train.checkpoint_every=4",
    "autoencoder.train.discriminator.kind=none",
    "tokenize.chunk_rows=64",
    "generator.content.depth=1",
    "generator.content.width=64",
    "generator.content.heads=1",
    "generator.structure.depth=1",
    "generator.structure.width=64",
    "generator.structure.heads=1",
    "generator.train.steps=8",
    "generator.train.batch_size=16",
    "generator.train.checkpoint_every=4",
    "generator.train.val_images=16",
    "sample.flow_steps=2",
)
"""Sizes with which a CPU runs every piece in a minute."""


@dataclass(frozen=True)
class Evidence:
    """The run's folder, and how large it is."""

    out: Path
    recipe: Recipe
    classifier: ClassifierTraining
    samples: int
    """Generated images of each class."""

    def pieces(self) -> dict[str, Callable[[], dict[str, Any]]]:
        """What is done, in order; each returns figures for the report."""
        return {
            "classifier": self.train_classifier,
            "tokenizer": self.train_tokenizer,
            "store": self.tokenize,
            "generators": self.train_generators,
            "samples": self.sample,
            "measures": self.measure,
        }

    def train_classifier(self) -> dict[str, Any]:
        """The network that reads samples."""
        network = load_classifier(self.out / "classifier.safetensors", self.recipe, self.classifier)
        return {"heldout_accuracy": heldout_accuracy(network, self.recipe)}

    def train_tokenizer(self) -> dict[str, Any]:
        """The autoencoder, with its held-out measures."""
        return {"lines": fit_autoencoder(self.recipe, self.out / "autoencoder", resume=True)}

    def tokenize(self) -> dict[str, Any]:
        """The store, in this process."""
        store = str(self.out / "tokens.vgs")
        report = tokenize_dataset(
            self.recipe, self.out / "autoencoder", store, Engine.INLINE, PassMode.RESUME
        )
        return {"lines": report.lines()}

    def train_generators(self) -> dict[str, Any]:
        """Both, on the same batches, with held-out losses and curves.png."""
        store, run = str(self.out / "tokens.vgs"), self.out / "generator"
        return {"lines": fit_generator(self.recipe, store, run, None, resume=True)}

    def sample(self) -> dict[str, Any]:
        """Images of all classes, as an array and a picture."""
        generators = load_generators(self.out / "generator")
        labels = [label for label in range(CLASSES) for _ in range(self.samples)]
        pixels = generators.images(labels, 0, self.recipe.sample).cpu()
        np.savez(self.out / "samples.npz", pixels=pixels.numpy(), labels=np.array(labels))
        shown = [label * self.samples + n for label in range(CLASSES) for n in range(SHOWN)]
        picture = sample_figure(pixels[shown], generators.classes, SHOWN)
        write_atomic(self.out / "samples.png", png_bytes(picture))
        return {"images": len(labels)}

    def measure(self) -> dict[str, Any]:
        """How samples are read and how far they are from real images; the same of held-out ones."""
        with np.load(self.out / "samples.npz") as file:
            saved = dict(file)
        network = load_classifier(self.out / "classifier.safetensors", self.recipe, self.classifier)
        made, read = network.read(saved["pixels"])
        rows, kept = split_rows(open_images(self.recipe).source.rows, self.recipe.data.heldout)
        real, heldout = (
            network.read(read_images(self.recipe, part)[0])[0] for part in (rows, kept)
        )
        generators = load_generators(self.out / "generator")
        store = open_store(str(self.out / "tokens.vgs"))
        found = {split: likelihood_of(generators, store, split, 2000) for split in Split}
        return {
            "read_as_asked": float((read.cpu().numpy() == saved["labels"]).mean()),
            "frechet (classifier)": _distance(made, real),
            "frechet (classifier), real held out": _distance(heldout, real),
            "likelihood": {split.value: each.table() for split, each in found.items()},
        }


def main(words: list[str]) -> int:
    """Run for a while; 0 when all is done, UNFINISHED where it is to be called again, 2 for input
    that cannot be used."""
    parser = argparse.ArgumentParser(prog="python -m tests.gpu train")
    parser.add_argument("--out", type=Path, default=Path("runs/evidence"), help="the run's folder")
    parser.add_argument("--minutes", type=float, default=9.0, help="time of this call")
    parser.add_argument("--tiny", action="store_true", help="tiny sizes, for a CPU too")
    options = parser.parse_args(words)
    show_log()
    try:
        return 0 if run(evidence_of(options.out, options.tiny), options.minutes) else UNFINISHED
    except InputError as error:
        print(f"tests.gpu train: {error}", file=sys.stderr)
        return 2


def run(evidence: Evidence, minutes: float) -> bool:
    """The pieces that are left, for so many minutes; whether all are done."""
    report_path = evidence.out / "report.json"
    report = json.loads(report_path.read_text()) if report_path.exists() else {}
    try:
        with time_box(60 * minutes):
            for name, piece in evidence.pieces().items():
                if name in report:
                    continue
                began = time.perf_counter()
                print(f"== {name}", flush=True)
                found = piece()
                report[name] = {**found, "seconds": round(time.perf_counter() - began, 1)}
                print(json.dumps(report[name], indent=1), flush=True)
                write_atomic(report_path, json.dumps(report, indent=1).encode())
    except KeyboardInterrupt:
        print(f"stopped; the same command goes on ({', '.join(report) or 'nothing'} done)")
        return False
    return True


@contextmanager
def time_box(seconds: float) -> Iterator[None]:
    """Ctrl-C after so many seconds, which every piece takes as a request to stop."""

    def stop(number: int, frame: FrameType | None) -> None:
        signal.raise_signal(signal.SIGINT)

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def evidence_of(out: Path, tiny: bool) -> Evidence:
    """The full run, or one that a CPU finishes. InputError where NVG_TEST_DATA names no images."""
    out.mkdir(parents=True, exist_ok=True)
    settings = [*SETTINGS, *(TINY if tiny else ())]
    if tiny:
        return Evidence(out, cifar_recipe(settings), ClassifierTraining(epochs=1), 10)
    return Evidence(out, cifar_recipe(settings), ClassifierTraining(epochs=20), 1000)


def _distance(values: torch.Tensor, others: torch.Tensor) -> float:
    one, other = Moments(), Moments()
    one.add(values)
    other.add(others)
    return frechet_distance(one, other)
