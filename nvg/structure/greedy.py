"""Greedy structure construction (Alg. 1) on any backend; all give the same leaves.

Legend: B image of a batch, N position, C channel.
"""

import numpy as np
import torch
from torch import Tensor

from nvg.backend import Backend, choose_backend
from nvg.geometry import leaf_dtype
from nvg.kernels.chain import build
from nvg.kernels.jit import over_slices
from nvg.structure.candidates import greedy_candidates
from nvg.structure.lattice import lattice_limit, require_scale
from nvg.structure.rounds import greedy_rounds


def greedy(latents_BNC: Tensor, backend: str = Backend.AUTO) -> Tensor:
    """Alg. 1: level by level, repeatedly merge the closest pair of clusters. -> leaves [B, N]."""
    method = choose_backend(backend, latents_BNC)
    if method is Backend.NUMBA:
        return _compiled(latents_BNC, swaps=False)
    return greedy_rounds(latents_BNC) if method is Backend.TORCH else greedy_candidates(latents_BNC)


def greedy_with_swaps(latents_BNC: Tensor) -> Tensor:
    """Greedy with 2-opt at every level: pairs swap clusters while that lowers the variance.

    Deterministic: gains are exact integers, visited in a fixed order. Runs on the CPU. -> [B, N].
    """
    return _compiled(latents_BNC, swaps=True)


def _compiled(latents_BNC: Tensor, swaps: bool) -> Tensor:
    batch, positions, channels = latents_BNC.shape
    latents, limit = latents_BNC.cpu().contiguous().numpy(), lattice_limit(positions, channels)
    leaves_BN = torch.empty(batch, positions, dtype=leaf_dtype(positions))
    leaves, scale = leaves_BN.numpy(), np.empty(batch)
    over_slices(lambda b: build(latents[b], limit, swaps, leaves[b], scale[b]), batch)
    require_scale(scale)
    return leaves_BN.to(latents_BNC.device)
