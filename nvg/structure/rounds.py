"""Greedy structure in torch on any device: rounds of mutual nearest neighbors, batched.

Legend: B image of a batch, N position, n cluster of a stage, m cluster still asked about, C
channel.

Under a strict order of the pairs, repeatedly merging all mutual nearest neighbors equals Alg. 1,
which merges the globally closest pair each time. It batches well: 12 to 18 rounds per level at
N = 256, on a key matrix that shrinks with the number of clusters.
"""

import math

import torch
from torch import Tensor

from nvg.structure.lattice import lattice
from nvg.structure.merging import merge_pairs, pair_keys, pairs_of, rows

CPU_MATRIX_ELEMENTS = 1 << 19  # float64 keys held at once: fits the caches
GPU_MATRIX_ELEMENTS = 1 << 26  # ... and enough to keep a GPU busy (512 MiB)
GPU_ROUNDS = 4  # rounds between two counts of unmerged clusters: each count synchronizes


def greedy_rounds(latents_BNC: Tensor) -> Tensor:
    """Leaves [B, N] of latents [B, N, C]."""
    elements = GPU_MATRIX_ELEMENTS if latents_BNC.is_cuda else CPU_MATRIX_ELEMENTS
    step = max(1, elements // latents_BNC.shape[1] ** 2)
    parts = [merge_pairs(lattice(part), pair_by_rounds) for part in latents_BNC.split(step)]
    return torch.cat(parts)


def pair_by_rounds(point_BnC: Tensor) -> tuple[Tensor, Tensor]:
    """The greedy pairing of one level."""
    batch, count, _ = point_BnC.shape
    key_Bmm = pair_keys(point_BnC)
    alive_Bm = torch.arange(count, device=point_BnC.device).expand(batch, count)
    partner_Bn, nearest_Bn = alive_Bm.clone(), alive_Bm.clone()
    looks = GPU_ROUNDS if point_BnC.is_cuda else 1
    for number in range(1, count + looks):
        # a finished row is its own partner and has key inf
        best_Bm = key_Bmm.amin(-1)
        step_Bm = torch.where(best_Bm.isinf(), 0.0, best_Bm.remainder(count)).long()
        nearest_Bm = alive_Bm ^ step_Bm
        nearest_Bn.scatter_(1, alive_Bm, nearest_Bm)
        done_Bm = nearest_Bn.gather(1, nearest_Bm) == alive_Bm
        found_Bm = done_Bm & (step_Bm > 0)
        partner_Bm = torch.where(found_Bm, nearest_Bm, partner_Bn.gather(1, alive_Bm))
        partner_Bn.scatter_(1, alive_Bm, partner_Bm)
        if number % looks == 0:
            remaining = int((~done_Bm).sum(1).max())
            if remaining == 0:
                break
            keep_Bm = done_Bm.to(torch.uint8).argsort(dim=1, stable=True)[:, :remaining]
            alive_Bm, done_Bm = alive_Bm.gather(1, keep_Bm), done_Bm.gather(1, keep_Bm)
            key_Bmm = rows(key_Bmm, keep_Bm)
            key_Bmm = key_Bmm.gather(2, keep_Bm.unsqueeze(1).expand(-1, remaining, -1))
        key_Bmm.masked_fill_(done_Bm.unsqueeze(1) | done_Bm.unsqueeze(2), math.inf)
    return pairs_of(partner_Bn)
