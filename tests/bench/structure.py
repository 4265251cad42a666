"""Images per second of the structure builder against repeated global argmin in numpy."""

import statistics
import time
from collections.abc import Callable

import numpy as np
import torch

from nvg.structure import build_leaves

CHANNELS, ROUNDS = 32, 5
NAIVE_IMAGES, IMAGES = 2, 128


def naive(latents_BNC: torch.Tensor) -> None:
    """Alg. 1 as printed: at each level take the closest remaining pair until none is left."""
    for latent_NC in latents_BNC.double().numpy():
        points = latent_NC
        while len(points) > 1:
            distance = ((points[:, None] - points[None]) ** 2).sum(-1)
            np.fill_diagonal(distance, np.inf)
            merged = []
            for _ in range(len(points) // 2):
                i, j = np.unravel_index(distance.argmin(), distance.shape)
                distance[[i, j]] = distance[:, [i, j]] = np.inf
                merged.append((points[i] + points[j]) / 2)
            points = np.stack(merged)


def rate(run: Callable[[torch.Tensor], object], latents: torch.Tensor) -> float:
    """Images per second of one call."""
    began = time.perf_counter()
    run(latents)
    return len(latents) / (time.perf_counter() - began)


def main() -> None:
    """Interleave both builders and print medians and their ratio."""
    generator = torch.Generator().manual_seed(0)
    print("structure: images/s of build_leaves against naive global argmin (numpy), medians")
    for positions in (64, 256):
        latents = torch.randn(IMAGES, positions, CHANNELS, generator=generator)
        build_leaves(latents)
        pairs = [
            (rate(build_leaves, latents), rate(naive, latents[:NAIVE_IMAGES]))
            for _ in range(ROUNDS)
        ]
        ours, theirs = (statistics.median(column) for column in zip(*pairs, strict=True))
        print(f"  N = {positions:4d}: {ours:8.0f} against {theirs:6.1f}, ratio {ours / theirs:.0f}")
