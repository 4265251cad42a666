"""Images per second of every greedy backend, beside slower ways and the machine's floor."""

from collections.abc import Callable

import numba
import numpy as np
import torch

from nvg.backend import Backend
from nvg.structure import build_leaves
from nvg.structure.lattice import lattice
from tests.bench.measure import interleaved, machine

CHANNELS, ROUNDS = 32, 5
IMAGES = {64: 4096, 256: 1024, 1024: 32, 4096: 4}
SLOW: dict[str, dict[int, int]] = {  # fewer where it would take minutes, none where too long
    "naive": {64: 32, 256: 4},
    "sort": {64: 256, 256: 16, 1024: 2},
    "torch": {64: 1024, 256: 128, 1024: 8, 4096: 1},
    "faiss": {64: 64, 256: 32, 1024: 8, 4096: 2},
}
NAMES = ["naive", "sort", "floor", "torch", "faiss", "numba"]


def naive(latents_BNC: torch.Tensor) -> None:
    """Alg. 1 as printed, in numpy: at each level take the closest pair until none is left."""
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


@numba.njit(parallel=True, cache=True)
def _sorted_levels(points_BNC: np.ndarray) -> None:  # type: ignore[type-arg]
    """Each level sorts all its pairs by key and scans them; images in parallel."""
    for b in numba.prange(len(points_BNC)):
        points = points_BNC[b].copy()
        n = len(points)
        while n > 1:
            keys = np.empty(n * (n - 1) // 2, np.int64)
            pairs = np.empty(n * (n - 1) // 2, np.int64)
            k = 0
            for i in range(n):
                for j in range(i + 1, n):
                    square = np.int64(0)
                    for c in range(points.shape[1]):
                        square += (points[i, c] - points[j, c]) ** 2
                    keys[k], pairs[k] = square * n + (i ^ j), i * n + j
                    k += 1
            used, merged, m = np.zeros(n, np.bool_), points[: n // 2].copy(), 0
            for k in np.argsort(keys):
                i, j = pairs[k] // n, pairs[k] % n
                if not (used[i] or used[j]):
                    used[i] = used[j] = True
                    merged[m] = points[i] + points[j]
                    m += 1
            points, n = merged, n // 2


def sort(latents_BNC: torch.Tensor) -> None:
    """The sort of all pairs, numba; without the order of clusters that leaves need."""
    _sorted_levels(lattice(latents_BNC).long().numpy())


def floor(latents_BNC: torch.Tensor) -> None:
    """One float32 matrix product of the first level and one pass of minima: no merging at all."""
    torch.bmm(latents_BNC, latents_BNC.mT).amin(-1)


def backend(name: str) -> Callable[[torch.Tensor], object]:
    """build_leaves by one backend."""
    return lambda latents: build_leaves(latents, backend=name)


def main() -> None:
    """Print images per second (medians of interleaved calls) and the ratios that matter."""
    print(f"structure: images/s, {CHANNELS} channels, normal latents; {machine()}")
    ways: dict[str, Callable[[torch.Tensor], object]] = {
        "naive": naive,
        "sort": sort,
        "floor": floor,
    }
    ways |= {b.value: backend(b.value) for b in Backend if b is not Backend.AUTO}
    print("     N" + "".join(f"{name:>10}" for name in NAMES) + "  numba / naive, sort, floor")
    generator = torch.Generator().manual_seed(0)
    for positions, images in IMAGES.items():
        latents = torch.randn(images, positions, CHANNELS, generator=generator)
        counts = {name: SLOW.get(name, IMAGES).get(positions, 0) for name in NAMES}
        calls = {name: _call(ways[name], latents[: counts[name]]) for name in NAMES if counts[name]}
        seconds = interleaved(calls, ROUNDS)
        rate = {name: counts[name] / seconds[name] for name in calls}
        cells = [f"{rate[name]:10.1f}" if name in rate else f"{'-':>10}" for name in NAMES]
        ratios = [
            f"{rate['numba'] / rate[name]:.1f}" if name in rate else "-" for name in NAMES[:3]
        ]
        print(f"{positions:6d}{''.join(cells)}  {', '.join(ratios)}")


def _call(way: Callable[[torch.Tensor], object], latents: torch.Tensor) -> Callable[[], object]:
    return lambda: way(latents)
