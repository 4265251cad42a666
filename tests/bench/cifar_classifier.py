"""A classifier of CIFAR-10, trained here: how generated images are read, and a space of features.

`NVG_TEST_DATA=FOLDER python -m tests.bench.cifar_classifier PATH` trains it on the images that the
recipe does not hold out and writes its weights to PATH; a file that is there is used as it is.
A residual network, 38 MFLOP an image, so that one CPU core trains it in a quarter of an hour.

Legend: B image of a batch, C channel, D row or column of pixels or of the grid, F feature channel,
L logit.
"""

import os
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from nvg.distributed import default_device
from nvg.errors import InputError
from nvg.files import write_atomic
from nvg.weights import load_weights, weights_bytes
from pipeline.images.recipe_images import open_images
from pipeline.recipe import Recipe, load_recipe
from pipeline.sources import Row, split_rows

RECIPE = "datasets/cifar10.toml"
CLASSES = 10


@dataclass(frozen=True)
class ClassifierTraining:
    """How it is trained; the defaults are those of the figures in docs/RELEASE.md."""

    epochs: int = 10
    batch_size: int = 128
    lr: float = 0.15
    """The peak of one cycle."""
    decay: float = 5e-4
    smoothing: float = 0.1
    """Of the labels."""
    shift: int = 3
    """Pixels up, down, left and right, at most; half of the images are mirrored besides."""
    bfloat16: bool = True
    """Activations of the training; half the time on a CPU that has it. Reading is in float32."""


class Block(nn.Module):
    """Two convolutions, added to their input."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(*_conv(channels, channels, 1), *_conv(channels, channels, 1))

    def forward(self, x_BCDD: Tensor) -> Tensor:
        """[B, C, D, D] to the same shape."""
        return x_BCDD + self.layers(x_BCDD)


class CifarClassifier(nn.Module):
    """32x32 pixels to logits, by way of features; grids of 32, 16, 8 and 4."""

    def __init__(self, widths: tuple[int, ...] = (24, 32, 64, 128)) -> None:
        super().__init__()
        layers = [*_conv(3, widths[0], 1)]
        for narrow, wide in pairwise(widths):
            layers += [*_conv(narrow, wide, 2), Block(wide)]
        self.layers = nn.Sequential(*layers)
        self.head = nn.Linear(widths[-1], CLASSES)
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def features(self, pixels_BCDD: Tensor) -> Tensor:
        """The penultimate layer [B, F] of pixels in 0..255, [B, 3, 32, 32] of any dtype."""
        x_BCDD = (pixels_BCDD.float() / 127.5 - 1).contiguous(memory_format=torch.channels_last)
        return self.layers(x_BCDD).mean((2, 3))

    def forward(self, pixels_BCDD: Tensor) -> Tensor:
        """Logits [B, L] of the ten classes."""
        return self.head(self.features(pixels_BCDD))

    @torch.no_grad()
    def read(self, pixels: np.ndarray[Any, Any], batch: int = 500) -> tuple[Tensor, Tensor]:
        """(features [B, F], likeliest classes [B]) of uint8 pixels [B, 3, 32, 32]."""
        self.eval()
        parts, device = torch.from_numpy(pixels).split(batch), self.head.weight.device
        features_BF = torch.cat([self.features(part.to(device)) for part in parts])
        return features_BF, self.head(features_BF).argmax(1)


class Reader(nn.Module):
    """Features and logits of uint8 images: an extractor of `nvgctl evaluate generation`."""

    def __init__(self, network: CifarClassifier) -> None:
        super().__init__()
        self.network = network

    def forward(self, pixels_BCDD: Tensor) -> tuple[Tensor, Tensor]:
        """([B, F], [B, L]) of [B, 3, 32, 32]."""
        features_BF = self.network.features(pixels_BCDD)
        return features_BF, self.network.head(features_BF)


def extractor(weights: Path | None) -> nn.Module:
    """`--extractor tests.bench.cifar_classifier:extractor --weights PATH`, where PATH exists."""
    if weights is None or not weights.is_file():
        raise InputError(f"{weights} is no file: train it, python -m tests.bench.cifar_classifier")
    return Reader(load_classifier(weights))


def _conv(narrow: int, wide: int, stride: int) -> list[nn.Module]:
    conv = nn.Conv2d(narrow, wide, 3, stride, padding=1, bias=False)
    return [conv, nn.BatchNorm2d(wide), nn.ReLU(inplace=True)]


def cifar_recipe(settings: list[str] | None = None) -> Recipe:
    """CIFAR-10's recipe on the folder that NVG_TEST_DATA names. InputError without one."""
    folder = os.environ.get("NVG_TEST_DATA", "")
    if not folder:
        raise InputError("NVG_TEST_DATA is not set: name the folder of cifar10-train-*.parquet")
    return load_recipe(RECIPE, [f'data.path="{folder}"', *(settings or [])])


def read_images(recipe: Recipe, rows: Sequence[Row]) -> tuple[np.ndarray[Any, Any], Tensor]:
    """(pixels uint8 [B, 3, 32, 32], labels [B]) of some rows of the recipe's source."""
    pixels = open_images(recipe).center_crops(rows).batch(np.arange(len(rows))).pixels
    return pixels, torch.tensor([row.label for row in rows])


def load_classifier(
    path: Path, recipe: Recipe | None = None, training: ClassifierTraining | None = None
) -> CifarClassifier:
    """The classifier of `path`; where there is none, it is trained first.

    On what a recipe does not hold out, by default on all of CIFAR-10 but the held-out images.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = CifarClassifier()
    network = network.to(default_device())
    if not path.exists():
        recipe, training = recipe or cifar_recipe(), training or ClassifierTraining()
        rows = split_rows(open_images(recipe).source.rows, recipe.data.heldout)[0]
        train(network, *read_images(recipe, rows), training)
        state = {name: value.cpu() for name, value in network.state_dict().items()}
        write_atomic(path, weights_bytes(state, training))
    load_weights(network, path)
    return network.eval()


def train(
    network: CifarClassifier,
    pixels: np.ndarray[Any, Any],
    labels: Tensor,
    training: ClassifierTraining,
    seed: int = 0,
) -> None:
    """Train in place on uint8 pixels [B, 3, 32, 32] and labels [B]; a line an epoch."""
    device = network.head.weight.device
    generator, images = torch.Generator().manual_seed(seed), torch.from_numpy(pixels).to(device)
    labels = labels.to(device)
    steps = len(images) // training.batch_size  # an epoch; the rest of its images is left out
    optimizer = torch.optim.SGD(
        network.parameters(), training.lr, 0.9, weight_decay=training.decay, nesterov=True
    )
    cycle = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, training.lr, total_steps=training.epochs * steps, pct_start=0.25
    )
    network.train()
    for epoch in range(training.epochs):
        began, losses = time.perf_counter(), []
        order = torch.randperm(len(images), generator=generator)
        for picked in order[: steps * training.batch_size].view(steps, -1).to(device):
            with torch.autocast(device.type, torch.bfloat16, enabled=training.bfloat16):
                logits_BL = network(augmented(images[picked], training.shift, generator))
            loss = functional.cross_entropy(
                logits_BL.float(), labels[picked], label_smoothing=training.smoothing
            )
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            cycle.step()
            losses.append(loss.detach())
        seconds = time.perf_counter() - began
        print(
            f"epoch {epoch + 1}: loss {torch.stack(losses).mean():.3f}, {seconds:.0f} s", flush=True
        )


def augmented(pixels_BCDD: Tensor, shift: int, generator: torch.Generator) -> Tensor:
    """Float pixels of the same shape: shifted by up to `shift`, the edge mirrored; half flipped."""
    count, _, side, _ = pixels_BCDD.shape
    padded = functional.pad(pixels_BCDD.float(), (shift,) * 4, mode="reflect")
    place = torch.randint(0, 2 * shift + 1, (2, count, 1), generator=generator)
    rows_BD, columns_BD = place + torch.arange(side)
    flip = torch.rand(count, 1, generator=generator) < 0.5
    columns_BD = torch.where(flip, columns_BD.flip(1), columns_BD)
    image = torch.arange(count).view(-1, 1, 1)
    places = image, rows_BD[:, :, None], columns_BD[:, None, :]
    image, rows, columns = (place.to(padded.device) for place in places)
    return padded[image, :, rows, columns].permute(0, 3, 1, 2)


def heldout_accuracy(network: CifarClassifier, recipe: Recipe) -> float:
    """The part of the recipe's held-out images whose class it names."""
    rows = split_rows(open_images(recipe).source.rows, recipe.data.heldout)[1]
    pixels, labels = read_images(recipe, rows)
    return float((network.read(pixels)[1].cpu() == labels).double().mean())


if __name__ == "__main__":
    found = heldout_accuracy(load_classifier(Path(sys.argv[1])), cifar_recipe())
    print(f"held-out accuracy {found:.1%}")
