"""Kinds of latents on which backends could differ, and random leaves; nothing here needs pytest."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from nvg.geometry import Geometry, canonical
from tests.nvg.structure import reference


def normal_latents(rng: np.random.Generator, size: int, channels: int) -> Any:
    """Ordinary latents [N, C] of one image, as a float32 numpy array."""
    return rng.normal(size=(size, channels)).astype(np.float32)


def random_leaves(rng: np.random.Generator, shape: tuple[int, ...], grid: int) -> Any:
    """Valid leaves [*shape, N] of random hierarchies in the stored dtype, as a numpy array."""
    geometry = Geometry(grid)
    permutations = rng.permuted(
        np.broadcast_to(np.arange(geometry.positions), (*shape, geometry.positions)), axis=-1
    )
    kind = np.uint8 if geometry.positions <= 256 else np.uint16
    return canonical(torch.from_numpy(permutations)).numpy().astype(kind)


# N position, C latent channel
Latents = NDArray[np.floating]
Kind = Callable[[np.random.Generator, int, int], Latents]


def tied(rng: np.random.Generator, size: int, channels: int) -> Latents:
    """Small integers: most distances are tied."""
    return rng.integers(-2, 3, size=(size, channels)).astype(np.float32)


def duplicates(rng: np.random.Generator, size: int, channels: int) -> Latents:
    """Every position is one of three vectors, in random order."""
    return normal_latents(rng, 3, channels)[rng.integers(0, 3, size=size)]


def constant(rng: np.random.Generator, size: int, channels: int) -> Latents:
    """One vector at every position."""
    return np.repeat(normal_latents(rng, 1, channels), size, axis=0)


def patches(rng: np.random.Generator, size: int, channels: int) -> Latents:
    """Half of the positions are one vector, the rest is noise."""
    latents = normal_latents(rng, size, channels)
    latents[size // 4 : size - size // 4] = latents[0]
    return latents


def offset(rng: np.random.Generator, size: int, channels: int) -> Latents:
    """Noise on an offset so large that float32 keeps only a few bits of it."""
    return (1e6 + rng.normal(size=(size, channels))).astype(np.float32)


def uneven(rng: np.random.Generator, size: int, channels: int) -> Latents:
    """One outlier sets the range, so that the others share few lattice points."""
    latents = normal_latents(rng, size, channels)
    latents[-1] *= 1e5
    return latents


def nearly_tied(rng: np.random.Generator, size: int, channels: int) -> Latents:
    """Ties except in the last lattice bits, below the precision of float32 distances."""
    noise = 2.0**-14 * rng.integers(-2, 3, size=(size, channels))
    return tied(rng, size, channels).astype(np.float64) + noise


def line(rng: np.random.Generator, size: int, channels: int) -> Latents:
    """A shuffled line of almost equal steps, on which greedy ends with distant pairs."""
    steps = rng.permutation(size) + rng.integers(0, 4, size=size) / 8
    return np.repeat(steps[:, None], channels, axis=1).astype(np.float32)


HARD: list[Kind] = [  # ties, repeats, offsets, outliers
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


def smooth(rng: np.random.Generator, size: int, channels: int) -> Latents:
    """Like a natural image: a slope and a wave over the grid with a little noise."""
    high = 1 << reference.log2(size) // 2
    place = np.stack(np.divmod(np.arange(size), size // high), axis=1)
    slope = place @ rng.normal(size=(2, channels))
    wave = np.sin(place @ rng.uniform(size=(2, channels)))
    return (slope + wave + 0.05 * rng.normal(size=(size, channels))).astype(np.float32)


def piecewise(rng: np.random.Generator, size: int, channels: int) -> Latents:
    """Up to five constant runs without any noise, like a drawing."""
    return normal_latents(rng, 5, channels)[np.sort(rng.integers(0, 5, size=size))]


def equidistant(rng: np.random.Generator, size: int, channels: int) -> Latents:
    """Lattice points in groups of one centre and seven at the same large distance from it.

    The squares that make up those distances stand in different orders, so that float32 sums of them
    differ where the exact ones do not.
    """
    bound = 2 ** reference.lattice_bits(size, channels) - 1
    step = rng.integers(bound // 8, bound // 4, size=channels)
    points = np.repeat(rng.integers(-bound // 2, bound // 2, size=(size, channels))[::8], 8, axis=0)
    points = points[:size]
    points[:8] = 0  # one centre has no size of its own, from which its errors could be told
    for position in range(size):
        if position % 8:
            points[position] += rng.permutation(step) * rng.choice([-1, 1], size=channels)
    points[-2], points[-1] = -bound, bound  # so the lattice is the integers themselves
    return points.astype(np.float32)


def ladder(rng: np.random.Generator, size: int, channels: int) -> Latents:
    """Gaps that grow along a line: one pair of mutual nearest neighbors at a time."""
    order = np.arange(size)
    return np.outer(order * (order + 1) // 2, rng.integers(1, 3, size=channels)).astype(np.float32)


KINDS: list[Kind] = [*HARD, smooth, piecewise, equidistant, ladder]


def batch_of(kind: Kind, seed: int, images: int, size: int, channels: int) -> Latents:
    """Images [B, N, C] of one kind in its own dtype."""
    rng = np.random.default_rng([seed, size, channels])
    return np.stack([kind(rng, size, channels) for _ in range(images)])
