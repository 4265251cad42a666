"""Latents for structure tests: kinds on which backends could differ."""

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from nvg.geometry import Geometry, canonical
from nvg.structure import build_leaves
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
BACKENDS = ("numba", "torch", "faiss")


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
SAMPLED = [  # all of them for the thorough
    kind
    if kind in (normal_latents, tied, ladder)
    else pytest.param(kind, marks=pytest.mark.thorough)
    for kind in KINDS
]


def batch_of(kind: Kind, seed: int, images: int, size: int, channels: int) -> Latents:
    """Images [B, N, C] of one kind in its own dtype."""
    rng = np.random.default_rng([seed, size, channels])
    return np.stack([kind(rng, size, channels) for _ in range(images)])


def leaves_of(latents_BNC: Latents, backend: str) -> list[list[int]]:
    """The leaves of a batch by one backend, as Python integers."""
    leaves: list[list[int]] = build_leaves(torch.from_numpy(latents_BNC), backend=backend).tolist()
    return leaves


def expected_leaves(latents_BNC: Latents) -> list[list[int]]:
    """The leaves of a batch by the reference, cached."""
    shape, kind = latents_BNC.shape[1:], latents_BNC.dtype.str
    return [_leaves(latents_NC.tobytes(), shape, kind) for latents_NC in latents_BNC]


@lru_cache(4096)
def _leaves(latents_NC: bytes, shape: tuple[int, ...], kind: str) -> list[int]:
    return reference.greedy_leaves(np.frombuffer(latents_NC, kind).reshape(shape))


def assert_equal_to_reference(latents_BNC: Latents) -> None:
    """Every backend gives the leaves of the reference, which sorts all edges as Python integers."""
    expected = expected_leaves(latents_BNC)
    for backend in BACKENDS:
        leaves = leaves_of(latents_BNC, backend)
        wrong = [b for b, leaves_N in enumerate(leaves) if leaves_N != expected[b]]
        assert not wrong, f"{backend}: images {wrong} of {latents_BNC.shape} {latents_BNC.dtype}"


def large_points(rng: np.random.Generator, count: int, channels: int) -> NDArray[np.int64]:
    """Integer points up to 2^25, beyond what float32 holds, of one spread out of several.

    From all over the range to almost equal: distances of any size between large coordinates.
    """
    spread = int(2.0 ** rng.integers(0, 26))
    middle = rng.integers(-(2**25) + spread, 2**25 - spread + 1, size=channels)
    corner = rng.choice([-1, 1], size=(count, channels)) * spread
    inside = rng.integers(-spread, spread + 1, size=(count, channels))
    return middle + np.where(rng.integers(0, 2, size=(count, 1)), corner, inside)
