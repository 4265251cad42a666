"""FAISS on torch tensors, on a CPU or a GPU; the only file that imports it.

Legend: M vector of a flat list, V code, C channel, k nearest candidate.

FAISS is optional (`pip install .[cpu]` or `.[gpu]`): importing this file does not need it.
"""

from functools import cache
from typing import Any

import torch
from torch import Tensor

from nvg.errors import InputError


class FaissError(InputError):
    """FAISS, or its GPU build, is asked for and not installed."""


def neighbours(queries: Tensor, base: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Squared distances and indices [M, k] of the `count` base vectors nearest to each query.

    float32 as FAISS computes them, nearest first, ties in any order. The tensors' memory is used
    where it lies; both on one device.
    """
    queries, base = queries.float().contiguous(), base.float().contiguous()
    if queries.is_cuda:
        square_Mk, index_Mk = _library().knn_gpu(_gpu(), queries, base, count)
        return square_Mk, index_Mk
    square_Mk, index_Mk = _library().knn(queries.numpy(), base.numpy(), count)
    return torch.from_numpy(square_Mk), torch.from_numpy(index_Mk)


def kmeans(vectors: Tensor, count: int, iterations: int, seed: int) -> Tensor:
    """Centroids [count, C] of vectors [M, C], on the vectors' device."""
    faiss = _library()
    model = faiss.Kmeans(
        vectors.shape[1],
        count,
        niter=iterations,
        seed=seed,
        gpu=vectors.is_cuda,
        min_points_per_centroid=1,
        max_points_per_centroid=max(1, -(-len(vectors) // count)),
    )
    model.train(vectors.float().contiguous().cpu().numpy())
    return torch.from_numpy(model.centroids).to(vectors.device)


@cache
def _library() -> Any:
    try:
        import faiss
    except ImportError as error:
        raise FaissError("FAISS is not installed: pip install '.[cpu]' or '.[gpu]'") from error
    return faiss


@cache
def _gpu() -> Any:
    faiss = _library()
    if not hasattr(faiss, "StandardGpuResources"):
        raise FaissError("this FAISS has no GPU support: pip install '.[gpu]'")
    import faiss.contrib.torch_utils  # lets FAISS take CUDA tensors as they are

    return faiss.StandardGpuResources()
