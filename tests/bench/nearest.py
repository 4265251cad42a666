"""Images per second of the search for codes, at the paper's size."""

from collections.abc import Callable

import torch

from nvg.backend import Backend
from nvg.quantizer.nearest import nearest_code
from tests.bench.measure import interleaved, machine

CODES, CHANNELS, TOKENS, IMAGES, ROUNDS = 4096, 32, 511, 16, 5
PART = 1024  # vectors per matrix product of the baseline


def plain(vectors: torch.Tensor, codebook: torch.Tensor) -> None:
    """torch as one would write it: matrix product and argmin in parts, no bound on the error."""
    half = codebook.square().sum(1) / 2
    for part in vectors.split(PART):
        torch.addmm(half, part, codebook.T, alpha=-1).argmin(1)


def faiss_flat(vectors: torch.Tensor, codebook: torch.Tensor) -> None:
    """FAISS's nearest one, no bound on the error either."""
    import faiss

    faiss.knn(vectors.numpy(), codebook.numpy(), 1)


def main() -> None:
    """Print images per second (medians of interleaved calls) and the ratio to plain torch."""
    print(
        f"nearest codes: img/s, {TOKENS} vectors each, codebook {CODES} x {CHANNELS}; {machine()}"
    )
    generator = torch.Generator().manual_seed(0)
    codebook = torch.randn(CODES, CHANNELS, generator=generator)
    vectors = torch.randn(IMAGES * TOKENS, CHANNELS, generator=generator)
    calls: dict[str, Callable[[], object]] = {
        "plain torch": lambda: plain(vectors, codebook),
        "plain faiss": lambda: faiss_flat(vectors, codebook),
    }
    for method in Backend:
        if method is not Backend.AUTO:
            calls[method.value] = _call(vectors, codebook, method)
    seconds = interleaved(calls, ROUNDS)
    for name, value in seconds.items():
        ratio = seconds["plain torch"] / value
        print(f"  {name:12}{IMAGES / value:8.0f}  {ratio:5.1f} x plain torch")


def _call(vectors: torch.Tensor, codebook: torch.Tensor, method: Backend) -> Callable[[], object]:
    return lambda: nearest_code(vectors, codebook, method)
