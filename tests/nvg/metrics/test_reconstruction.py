"""Reconstruction measures against numbers computed by hand."""

import math
from typing import Any

import numpy as np
import pytest
import torch

from nvg.distributed import World
from nvg.metrics import reconstruction
from nvg.metrics.reconstruction import Reconstruction, reconstruction_metrics, shared_metrics
from nvg.tokenizer.autoencoder import Autoencoder
from nvg.tokenizer.image_batch import ImageBatch
from tests.nvg.tokenizer.makers import tiny_autoencoder

# B image, S stage, V code
Pixels = np.ndarray[Any, Any]
STAGES, CODES = 5, 16


def make_pixels(count: int, seed: int = 0) -> Pixels:
    """Random images uint8 [B, 3, 8, 8]."""
    return np.random.default_rng(seed).integers(0, 256, (count, 3, 8, 8), dtype=np.uint8)


class Kept:
    """Images in memory."""

    def __init__(self, pixels: Pixels) -> None:
        self.pixels = pixels

    def __len__(self) -> int:
        return len(self.pixels)

    def batch(self, rows: Pixels) -> ImageBatch:
        return ImageBatch(self.pixels[rows])


def measure(model: Autoencoder, pixels: Pixels) -> Reconstruction:
    return reconstruction_metrics(model, Kept(pixels))


@pytest.mark.parametrize("count", [1, 5, 70])
def test_psnr_is_that_of_the_clipped_reconstruction(count: int) -> None:
    """10 log10(4 / MSE) over all pixels on the scale [-1, 1], also over several batches."""
    model, pixels = tiny_autoencoder(), make_pixels(count)
    measures = measure(model, pixels)
    images = pixels / 127.5 - 1
    with torch.no_grad():
        rebuilt = model(torch.from_numpy(images).float())[0].double().numpy().clip(-1, 1)
    mse = float(((rebuilt - images) ** 2).mean())
    assert measures.images == count
    assert measures.mse == pytest.approx(mse, rel=1e-4)
    assert measures.psnr == pytest.approx(10 * math.log10(4 / mse), abs=1e-3)


def test_psnr_agrees_with_8_bits() -> None:
    """A constant error of 51 grey levels is 20 log10(255 / 51) = 13.98 dB."""
    model = tiny_autoencoder()
    last = model.decoder.layers[-1]
    assert isinstance(last, torch.nn.Conv2d)
    assert last.bias is not None
    with torch.no_grad():
        last.weight.zero_()
        last.bias.fill_(151 / 127.5 - 1)
    measures = measure(model, np.full((2, 3, 8, 8), 100, np.uint8))
    assert measures.psnr == pytest.approx(20 * math.log10(255 / 51), abs=1e-3)


def test_measures_are_exact_float32() -> None:
    """Whatever autocast is around: measures mean the same anywhere."""
    model, pixels = tiny_autoencoder(), make_pixels(5)
    expected = measure(model, pixels)
    with torch.autocast("cpu", torch.bfloat16):
        assert measure(model, pixels) == expected


@pytest.mark.thorough
@pytest.mark.parametrize("size", [1, 2, 3, 5])
def test_processes_share_the_images_out(monkeypatch: pytest.MonkeyPatch, size: int) -> None:
    """Each batch is measured once; the main process has what one has, to the bit."""
    monkeypatch.setattr(reconstruction, "BATCH", 4)
    model, images = tiny_autoencoder(), Kept(make_pixels(14))
    taken: list[list[Any]] = []

    class Told(World):
        def collect(self, value: Any) -> list[Any]:
            taken.append(value)
            return taken[::-1] if self.is_main else []  # the last ranks came first

    worlds = [Told(rank, size, torch.device("cpu")) for rank in range(size)]
    found = [shared_metrics(model, images, world) for world in reversed(worlds)]
    assert found == [None] * (size - 1) + [reconstruction_metrics(model, images)]
    assert sorted(sums.images for own in taken for sums in own) == [2, 4, 4, 4]


def test_stage_errors_are_means_over_the_images() -> None:
    """The residual after each stage, averaged over images of unequal batches."""
    model, pixels = tiny_autoencoder(), make_pixels(70)
    errors = [model.tokenize(torch.from_numpy(pixels[n : n + 1]))[2][0] for n in range(70)]
    expected = torch.stack(errors).double().mean(0).tolist()
    assert measure(model, pixels).stage_error == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("count", [1, 6])
def test_usage_counts_distinct_tokens(count: int) -> None:
    """Of the codebook for all stages; of what a stage's draws can reach, per stage."""
    model, pixels = tiny_autoencoder(), make_pixels(count)
    content = model.tokenize(torch.from_numpy(pixels))[1].tolist()
    measures = measure(model, pixels)
    assert measures.usage == pytest.approx(len({t for row in content for t in row}) / CODES)
    for stage in range(STAGES):
        tokens = [t for row in content for t in row[2**stage - 1 : 2 ** (stage + 1) - 1]]
        reach = min(CODES, len(tokens))
        assert measures.stage_usage[stage] == pytest.approx(len(set(tokens)) / reach)


def test_a_single_code_is_the_least_usage() -> None:
    """When all images are one flat colour at stage 0, only one code is drawn there."""
    pixels = np.full((5, 3, 8, 8), 90, np.uint8)
    assert measure(tiny_autoencoder(), pixels).stage_usage[0] == pytest.approx(1 / 5)
