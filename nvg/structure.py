"""Structure construction (Sec. 2.1, Alg. 1): latents -> leaf labels, exact on an integer lattice.

Legend: B image, N position, n cluster of the level, M member of a cluster, C latent channel.

The paper merges, level by level, the globally closest pair of clusters until all are paired.
Under a strict order of the pairs that equals merging every pair of mutual nearest neighbours, again
and again, which batches well. Distances are exact integers, so every device and batch size agrees.
"""

import math
from collections.abc import Callable

import torch
from torch import Tensor

from nvg.geometry import last_stage, leaf_dtype, leaf_order

Builder = Callable[[Tensor], Tensor]

CPU_MATRIX_ELEMENTS = 1 << 19  # float64 pairwise entries held at once: what stays in the caches
GPU_MATRIX_ELEMENTS = 1 << 26  # ... and what keeps a GPU busy (512 MiB)


def build_leaves(latents: Tensor, builder: str = "greedy") -> Tensor:
    """Leaf labels of a batch of latents [B, N, C]: uint8, or uint16 for N > 256, of shape [B, N].

    Each row is a permutation of 0..N-1 in canonical child order; `labels(leaves, i, K)` is the
    structure map of stage i. ValueError on a wrong shape or dtype, NaN or Inf, unknown builder.
    """
    if builder not in BUILDERS:
        raise ValueError(f"unknown structure builder {builder!r}; known: {', '.join(BUILDERS)}")
    _check(latents)
    with torch.no_grad():
        return BUILDERS[builder](latents.detach())


def lattice(latents_BNC: Tensor) -> Tensor:
    """Latents [B, N, C] on the integer lattice, as integers held in float64 [B, N, C].

    Per image: channels are centred at the middle of their range and scaled by one power of two, as
    large as keeps every pair key of every level below 2^53 (METHOD, structure construction).
    """
    positions, channels = latents_BNC.shape[1:]
    bits = (53 - 2 * last_stage(positions) - math.ceil(math.log2(channels))) // 2 - 1
    limit = 2.0**bits - 1
    value_BNC = latents_BNC.to(torch.float64)
    middle_B1C = (value_BNC.amin(1, keepdim=True) + value_BNC.amax(1, keepdim=True)) / 2
    centred_BNC = value_BNC - middle_B1C
    extent_B11 = centred_BNC.abs().amax((1, 2), keepdim=True)
    if not bool(torch.isfinite(extent_B11).all()):
        raise ValueError(f"latents {tuple(latents_BNC.shape)} span more than float64 can hold")
    scale_B11 = torch.exp2(torch.floor(torch.log2(limit / extent_B11)).clamp(-1000, 1000))
    # log2 may round across a power of two: settle on the largest that fits
    scale_B11 = torch.where(scale_B11 * extent_B11 > limit, scale_B11 / 2, scale_B11)
    scale_B11 = torch.where(scale_B11 * 2 * extent_B11 <= limit, scale_B11 * 2, scale_B11)
    scale_B11 = torch.where(extent_B11 == 0, 1.0, scale_B11)
    return torch.round(centred_BNC * scale_B11)


def greedy(latents_BNC: Tensor) -> Tensor:
    """Alg. 1: merge the closest pair of clusters again and again, level by level. -> [B, N]."""
    positions = latents_BNC.shape[1]
    elements = GPU_MATRIX_ELEMENTS if latents_BNC.is_cuda else CPU_MATRIX_ELEMENTS
    step = max(1, elements // positions**2)
    parts = [_greedy_batch(lattice(part)) for part in latents_BNC.split(step)]
    return torch.cat(parts)


BUILDERS: dict[str, Builder] = {"greedy": greedy}


def _check(latents: Tensor) -> None:
    shape = tuple(latents.shape)
    if latents.ndim != 3 or 0 in shape:
        raise ValueError(f"latents must be a non-empty [B, N, C], not {shape}")
    if shape[1] < 2 or shape[1] & (shape[1] - 1):
        raise ValueError(f"latents {shape}: the number of positions N must be a power of two >= 2")
    if not latents.is_floating_point():
        raise ValueError(f"latents {shape} must be floating point, not {latents.dtype}")
    if not bool(torch.isfinite(latents).all()):
        raise ValueError(f"latents {shape} hold NaN or Inf")


def _greedy_batch(point_BnC: Tensor) -> Tensor:
    """Integer points [B, N, C] -> leaves [B, N], merging from single positions up to the root."""
    batch, positions, _ = point_BnC.shape
    members_BnM = torch.arange(positions, device=point_BnC.device).expand(batch, positions)
    members_BnM = members_BnM.unsqueeze(-1)
    while point_BnC.shape[1] > 1:
        left_Bn, right_Bn = _pair_clusters(point_BnC)
        point_BnC = _rows(point_BnC, left_Bn) + _rows(point_BnC, right_Bn)
        members_BnM = torch.cat((_rows(members_BnM, left_Bn), _rows(members_BnM, right_Bn)), dim=-1)
    return leaf_order(members_BnM.squeeze(1)).to(leaf_dtype(positions))


def _rows(values_BnC: Tensor, index_Bm: Tensor) -> Tensor:
    """Rows `index_Bm` of every image's matrix."""
    return values_BnC.gather(1, index_Bm.unsqueeze(-1).expand(-1, -1, values_BnC.shape[-1]))


def _pair_keys(point_BnC: Tensor) -> Tensor:
    """Strict pair order of a level, d2(i, j) * n + (i xor j), exact; the diagonal is inf.

    A row's minimum tells its nearest neighbour: the key modulo n is i xor j.
    """
    count = point_BnC.shape[1]
    square_Bn = point_BnC.square().sum(-1)
    key_Bnn = torch.baddbmm(
        (square_Bn.unsqueeze(2) + square_Bn.unsqueeze(1)), point_BnC, point_BnC.mT, alpha=-2
    )
    index_n = torch.arange(count, device=point_BnC.device)
    key_Bnn.mul_(count).add_(index_n.unsqueeze(1) ^ index_n)
    key_Bnn.diagonal(dim1=1, dim2=2).fill_(math.inf)
    return key_Bnn


def _pair_clusters(point_BnC: Tensor) -> tuple[Tensor, Tensor]:
    """The greedy pairing of one level: (left, right) cluster indices [B, n/2], left ascending."""
    batch, count, _ = point_BnC.shape
    key_Bmm = _pair_keys(point_BnC)
    alive_Bm = torch.arange(count, device=point_BnC.device).expand(batch, count)
    partner_Bn = alive_Bm.clone()
    nearest_Bn = alive_Bm.clone()
    while True:
        # a finished row (padding of a smaller image) is its own partner and has key inf
        best_Bm = key_Bmm.amin(-1)
        step_Bm = torch.where(best_Bm.isinf(), 0.0, best_Bm.remainder(count)).long()
        nearest_Bm = alive_Bm ^ step_Bm
        nearest_Bn.scatter_(1, alive_Bm, nearest_Bm)
        matched_Bm = nearest_Bn.gather(1, nearest_Bm) == alive_Bm
        found_Bm = matched_Bm & (step_Bm > 0)
        partner_Bm = torch.where(found_Bm, nearest_Bm, partner_Bn.gather(1, alive_Bm))
        partner_Bn.scatter_(1, alive_Bm, partner_Bm)
        remaining = int((~matched_Bm).sum(1).max())
        if remaining == 0:
            break
        keep_Bm = matched_Bm.to(torch.uint8).argsort(dim=1, stable=True)[:, :remaining]
        alive_Bm = alive_Bm.gather(1, keep_Bm)
        done_Bm = matched_Bm.gather(1, keep_Bm)
        key_Bmm = _rows(key_Bmm, keep_Bm).gather(2, keep_Bm.unsqueeze(1).expand(-1, remaining, -1))
        key_Bmm.masked_fill_(done_Bm.unsqueeze(1) | done_Bm.unsqueeze(2), math.inf)
    index_n = torch.arange(count, device=point_BnC.device)
    left_Bn = (partner_Bn > index_n).nonzero()[:, 1].view(batch, count // 2)
    return left_Bn, partner_Bn.gather(1, left_Bn)
