"""What each structure builder explains of real latents, stage by stage, and what it costs."""

import io
import os
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import torch
import torch.nn.functional as F
from einops import rearrange
from PIL import Image
from torch import Tensor

from nvg.structure import GREEDY_SPACE, build_leaves, builder_names, measure_structure

IMAGES, OPTIMAL_IMAGES, CHANNELS, REGIONS = 1000, 32, 32, 4
SPACE_WEIGHT = 0.7


def patch_latents() -> tuple[str, Tensor]:
    """Principal components of 4x4 patches on an 8x8 grid, [B, 64, C], of real images.

    CIFAR-10's where NVG_TEST_DATA names a folder that holds them, else scikit-learn's digits.
    """
    files = sorted(Path(os.environ.get("NVG_TEST_DATA", "-")).glob("cifar10-train-*.parquet"))
    if files:
        column = next(pq.ParquetFile(files[0]).iter_batches(IMAGES)).column(0).to_pylist()
        images = [np.asarray(Image.open(io.BytesIO(image["bytes"]))) for image in column]
        pixels_BCDD = torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2).float()
        name = "CIFAR-10"
    else:
        from sklearn.datasets import load_digits

        pixels_BCDD = torch.from_numpy(load_digits().images[:IMAGES]).float().unsqueeze(1)
        pixels_BCDD = F.interpolate(pixels_BCDD, size=32, mode="bilinear")
        name = "digits"
    patches = rearrange(pixels_BCDD, "b c (y v) (x w) -> (b y x) (c v w)", v=4, w=4)
    patches = patches - patches.mean(0)
    channels = min(CHANNELS, patches.shape[1])
    _, _, axes = torch.pca_lowrank(patches, channels, center=False, niter=4)
    return name, (patches @ axes).view(len(pixels_BCDD), 64, channels)


def brightness_regions(latents_BNC: Tensor) -> Tensor:
    """A label map per image [B, N]: quartiles of its first component."""
    rank_BN = latents_BNC[..., 0].argsort(1).argsort(1)
    return (rank_BN * REGIONS) // latents_BNC.shape[1]


def options(builder: str, latents_BNC: Tensor) -> dict[str, Any]:
    """What a builder needs besides latents."""
    if builder == "segments":
        return {"segments": brightness_regions(latents_BNC)}
    return {"space_weight": SPACE_WEIGHT} if builder == GREEDY_SPACE else {}


def main() -> None:
    """Print variance within clusters per stage, and microseconds per image."""
    torch.manual_seed(0)
    name, latents = patch_latents()
    print(f"builders: variance within clusters, {len(latents)} images of {name} patches, N = 64")
    print(f"  {'builder':12}" + "".join(f"  stage {s}" for s in range(7)) + "   us/image")
    for builder in builder_names():
        part = latents[: OPTIMAL_IMAGES if builder == "optimal" else None]
        build_leaves(part[:2], builder, **options(builder, part[:2]))
        given = options(builder, part)
        began = time.perf_counter()
        leaves = build_leaves(part, builder, **given)
        cost = (time.perf_counter() - began) / len(part) * 1e6
        row = measure_structure(part, leaves).variance.tolist()
        note = f"  ({len(part)} images)" if builder == "optimal" else ""
        print(f"  {builder:12}" + "".join(f"{v:9.2f}" for v in row) + f"{cost:11.0f}{note}")
        if builder == "optimal":
            row = measure_structure(part, build_leaves(part)).variance.tolist()
            print("  greedy, same" + "".join(f"{v:9.2f}" for v in row))
