"""Latents for structure tests: kinds on which backends could differ."""

from functools import lru_cache

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from nvg.structure import build_leaves
from tests.nvg.structure import reference
from tests.nvg.structure.kinds import KINDS, Latents, ladder, normal_latents, tied

BACKENDS = ("numba", "torch", "faiss")
SAMPLED = [  # all of them for the thorough
    kind
    if kind in (normal_latents, tied, ladder)
    else pytest.param(kind, marks=pytest.mark.thorough)
    for kind in KINDS
]


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
