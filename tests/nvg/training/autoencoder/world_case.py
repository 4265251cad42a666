"""One process of a training of the autoencoder with every loss: see test_world.py."""

import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from nvg.distributed import joined
from nvg.pretrained import lpips
from nvg.tokenizer.image_batch import ImageBatch, RandomCrop
from nvg.training.autoencoder.config import DiscriminatorKind
from nvg.training.autoencoder.train import train_autoencoder
from nvg.training.run_dir import Run
from tests.makers import tiny_recipe
from tests.nvg.tokenizer.makers import tiny_model
from tests.nvg.training.autoencoder.makers import everything
from tests.nvg.training.makers import Pictures

GRID = 16
BAD = 5  # the number of a picture that cannot be read


class Gappy(Pictures):
    """Pictures of which one is always left out."""

    def batch(self, rows: np.ndarray[Any, Any], crop: RandomCrop | None = None) -> ImageBatch:
        kept = rows != BAD
        return replace(super().batch(rows[kept], crop), kept=kept)


def main(out: Path, kind: str, weights: str, accumulate: int, resume: bool) -> None:
    """Eight steps of four of nine pictures, two micro-batches in all."""
    training = everything(DiscriminatorKind(kind), Path(weights))
    model = replace(tiny_model(GRID), dropout=0.1)
    training = replace(training, accumulate=accumulate, checkpoint_every=2, keep=4, log_every=1)
    training = replace(training, sample_every=4)
    with joined() as world:
        run = Run(out, tiny_recipe(), resume or not world.is_main, ("autoencoder",), "",
                  world.is_main)  # fmt: skip
        train_autoencoder(model, training, Gappy(9, 2 * GRID), None, run, None, world)


if __name__ == "__main__":
    folder, kind, weights, vgg, accumulate, resume = sys.argv[1:]
    lpips._untrained = lambda: torch.load(vgg, weights_only=False)
    main(Path(folder), kind, weights, int(accumulate), resume == "resume")
