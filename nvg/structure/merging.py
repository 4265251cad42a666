"""Merging pairs level by level, shared by the bottom-up builders.

Legend: B image of a batch, N position, n cluster of a stage, J member of a cluster, C channel.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from nvg.geometry import leaf_dtype, leaf_order

# points [B, n, C], integers in float64 -> left and right cluster of every pair [B, n/2], left
# ascending and less than right
Pairing = Callable[[Tensor], tuple[Tensor, Tensor]]


def merge_pairs(point_BnC: Tensor, pairing: Pairing) -> Tensor:
    """Leaves [B, N] of lattice points [B, N, C], merging by `pairing` up to the root.

    Clusters are indexed by their smallest position, and a merged one is the sum of its two.
    """
    batch, positions, _ = point_BnC.shape
    members_BnJ = torch.arange(positions, device=point_BnC.device).expand(batch, positions)
    members_BnJ = members_BnJ.unsqueeze(-1)
    while point_BnC.shape[1] > 1:
        left_Bn, right_Bn = pairing(point_BnC)
        point_BnC = rows(point_BnC, left_Bn) + rows(point_BnC, right_Bn)
        members_BnJ = torch.cat((rows(members_BnJ, left_Bn), rows(members_BnJ, right_Bn)), dim=-1)
    return leaf_order(members_BnJ.squeeze(1)).to(leaf_dtype(positions))


def rows(values_BnC: Tensor, index_Bm: Tensor) -> Tensor:
    """Rows `index_Bm` of every image's matrix."""
    return values_BnC.gather(1, index_Bm.unsqueeze(-1).expand(-1, -1, values_BnC.shape[-1]))


def pairs_of(partner_Bn: Tensor) -> tuple[Tensor, Tensor]:
    """Left and right clusters from the partner of every cluster."""
    count = partner_Bn.shape[1]
    index_n = torch.arange(count, device=partner_Bn.device)
    is_right_Bn = (partner_Bn < index_n).to(torch.uint8)
    left_Bn = is_right_Bn.argsort(dim=1, stable=True)[:, : count // 2]
    return left_Bn, partner_Bn.gather(1, left_Bn)


def pair_keys(point_BnC: Tensor) -> Tensor:
    """Exact keys d2(i, j) * n + (i xor j), a strict order of pairs; the diagonal is inf.

    The minimum of a row gives its nearest neighbor: the key modulo n is i xor j.
    """
    count = point_BnC.shape[1]
    square_Bn = point_BnC.square().sum(-1)
    key_Bnn = torch.baddbmm(
        (square_Bn.unsqueeze(2) + square_Bn.unsqueeze(1)), point_BnC, point_BnC.mT, alpha=-2
    )
    index_n = torch.arange(count, device=point_BnC.device)
    key_Bnn.mul_(count).add_(index_n.unsqueeze(1) ^ index_n)
    key_Bnn.diagonal(dim1=1, dim2=2).fill_(torch.inf)
    return key_Bnn
