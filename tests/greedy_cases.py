"""Latents on which the backends of the greedy builder could differ, and what all must agree on."""

import numpy as np
import torch
from numpy.typing import NDArray

from nvg.structure import build_leaves
from tests import latent_kinds, reference
from tests.latent_kinds import Kind, Latents
from tests.makers import normal_latents

BACKENDS = ("numba", "torch", "faiss")


def smooth(rng: np.random.Generator, size: int, channels: int) -> Latents:
    """A patch of a picture: a slope and a wave over the grid, and a little noise."""
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
    """Gaps that grow along a line: one pair of mutual nearest neighbours at a time."""
    order = np.arange(size)
    return np.outer(order * (order + 1) // 2, rng.integers(1, 3, size=channels)).astype(np.float32)


KINDS: list[Kind] = [*latent_kinds.KINDS, smooth, piecewise, equidistant, ladder]


def batch_of(kind: Kind, seed: int, images: int, size: int, channels: int) -> Latents:
    """Images [B, N, C] of one kind in its own dtype."""
    rng = np.random.default_rng([seed, size, channels])
    return np.stack([kind(rng, size, channels) for _ in range(images)])


def leaves_of(latents_BNC: Latents, backend: str) -> list[list[int]]:
    """The leaves of a batch by one backend, as Python integers."""
    leaves: list[list[int]] = build_leaves(torch.from_numpy(latents_BNC), backend=backend).tolist()
    return leaves


def expected_leaves(latents_BNC: Latents) -> list[list[int]]:
    """The leaves of a batch by the reference."""
    return [reference.greedy_leaves(latents_NC) for latents_NC in latents_BNC]


def assert_equal_to_reference(latents_BNC: Latents) -> None:
    """Every backend gives the leaves that sorting all edges with Python integers gives."""
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
