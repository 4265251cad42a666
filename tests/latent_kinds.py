"""Kinds of latents that are hard for structure construction: ties, repeats, offsets, outliers."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from tests.makers import normal_latents

# N position, C latent channel
Latents = NDArray[np.floating]
Kind = Callable[[np.random.Generator, int, int], Latents]


def tied(rng: np.random.Generator, size: int, channels: int) -> Latents:
    """Small integers: most distances have many equals."""
    return rng.integers(-2, 3, size=(size, channels)).astype(np.float32)


def duplicates(rng: np.random.Generator, size: int, channels: int) -> Latents:
    """Every position is one of three vectors, in random order."""
    return normal_latents(rng, 3, channels)[rng.integers(0, 3, size=size)]


def constant(rng: np.random.Generator, size: int, channels: int) -> Latents:
    """The same vector everywhere."""
    return np.repeat(normal_latents(rng, 1, channels), size, axis=0)


def patches(rng: np.random.Generator, size: int, channels: int) -> Latents:
    """Half of the positions are one vector among noise."""
    latents = normal_latents(rng, size, channels)
    latents[size // 4 : size - size // 4] = latents[0]
    return latents


def offset(rng: np.random.Generator, size: int, channels: int) -> Latents:
    """Noise on an offset so large that float32 keeps only a few bits of it."""
    return (1e6 + rng.normal(size=(size, channels))).astype(np.float32)


def uneven(rng: np.random.Generator, size: int, channels: int) -> Latents:
    """One outlier takes the range, so the others share few lattice points."""
    latents = normal_latents(rng, size, channels)
    latents[-1] *= 1e5
    return latents


def nearly_tied(rng: np.random.Generator, size: int, channels: int) -> Latents:
    """Ties but for the last lattice bits, which float32 distances cannot tell."""
    noise = 2.0**-14 * rng.integers(-2, 3, size=(size, channels))
    return tied(rng, size, channels).astype(np.float64) + noise


def line(rng: np.random.Generator, size: int, channels: int) -> Latents:
    """A shuffled line of almost equal steps, on which greedy leaves far pairs over."""
    steps = rng.permutation(size) + rng.integers(0, 4, size=size) / 8
    return np.repeat(steps[:, None], channels, axis=1).astype(np.float32)


KINDS: list[Kind] = [
    normal_latents,
    tied,
    duplicates,
    constant,
    patches,
    offset,
    uneven,
    nearly_tied,
    line,
]
