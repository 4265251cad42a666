"""How far two hierarchies of one grid agree, and how coherent one is, stage by stage.

Legend: B image of a batch, N position, S stage.
"""

import torch
from torch import Tensor

from nvg.geometry import Geometry, labels


def pair_agreement(leaves_BN: Tensor, others_BN: Tensor, geometry: Geometry) -> Tensor:
    """Of two positions in one cluster of `leaves`, the share that `others` keep together, [B, S].

    1 where both maps are one, `chance` for unrelated ones. The last stage has no pairs: 1.
    """
    found = []
    for stage in range(geometry.stages):
        one, other = (labels(each, stage, geometry.K) for each in (leaves_BN, others_BN))
        together, both = (_same(one), _same(one) & _same(other))
        pairs = together.sum((1, 2)).clamp(min=1).double()
        share = both.sum((1, 2)).double() / pairs
        found.append(torch.where(together.any(2).any(1), share, torch.ones_like(share)))
    return torch.stack(found, dim=1)


def chance(geometry: Geometry) -> list[float]:
    """The agreement of unrelated maps: the share of the other positions a cluster has room for."""
    size = [geometry.positions >> stage for stage in range(geometry.stages)]
    return [(each - 1) / (geometry.positions - 1) for each in size[:-1]] + [1.0]


def coherence(leaves_BN: Tensor, geometry: Geometry) -> Tensor:
    """Share of side-by-side positions that lie in one cluster, at each stage, [S].

    Structure of real images is coherent; that of a poor sampler is scattered.
    """
    found = []
    for stage in range(geometry.stages):
        map_BDD = labels(leaves_BN, stage, geometry.K).unflatten(1, (geometry.grid, geometry.grid))
        beside = (map_BDD[:, :, 1:] == map_BDD[:, :, :-1]).double().mean()
        below = (map_BDD[:, 1:] == map_BDD[:, :-1]).double().mean()
        found.append((beside + below) / 2)
    return torch.stack(found)


def _same(label_BN: Tensor) -> Tensor:
    """Which pairs of different positions share a cluster, [B, N, N]."""
    same = label_BN.unsqueeze(1) == label_BN.unsqueeze(2)
    return same & ~torch.eye(same.shape[1], dtype=torch.bool, device=same.device)
