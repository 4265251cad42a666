"""The demo's generators for benchmarks that need trained ones, and a classifier of digits."""

import sys
from pathlib import Path

import numpy as np
import torch

from cli.demo import OUT, RECIPE, accuracies
from nvg.sampling.generators import Generators, load_generators
from nvg.tokenizer.autoencoder import Autoencoder, load_autoencoder
from pipeline.recipe import Recipe, load_recipe


class Digits:
    """What `./justw demo` left in runs/demo."""

    def __init__(self, folder: Path = OUT) -> None:
        if not (folder / "generator" / "content.safetensors").exists():
            sys.exit(f"{folder} holds no trained generators: run ./justw demo first")
        self.folder = folder
        self.recipe: Recipe = load_recipe(RECIPE)
        self.generators: Generators = load_generators(folder / "generator")
        self.autoencoder: Autoencoder = load_autoencoder(folder / "autoencoder")
        self.store = str(folder / "digits.vgs")

    def labels(self, each: int) -> list[int]:
        """So many of each digit."""
        return [digit for digit in range(10) for _ in range(each)]

    def accuracy(self, pixels: torch.Tensor, each: int) -> float:
        """Classifier accuracy on so many images of each digit."""
        return accuracies(self.recipe, pixels.cpu().numpy(), np.array(self.labels(each)))[1]
