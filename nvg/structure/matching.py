"""Optimal structure: every level pairs its clusters by minimum-weight perfect matching.

For comparison: it shows how far greedy is from optimal, at seconds per image of 256 positions.

Legend: B image of a batch, N position, n cluster of a stage, C channel.
"""

import networkx
import torch
from torch import Tensor

from nvg.structure.lattice import lattice
from nvg.structure.merging import merge_pairs, pairs_of


def optimal(latents_BNC: Tensor) -> Tensor:
    """Leaves [B, N] whose pairs have the least sum of squared distances at every level.

    Among equals, the least sum of i xor j. Optimal a level at a time, from the leaves up, which is
    not the optimum over all levels together.
    """
    parts = [merge_pairs(lattice(part.cpu()), _pairing) for part in latents_BNC.split(1)]
    return torch.cat(parts).to(latents_BNC.device)


def _pairing(point_1nC: Tensor) -> tuple[Tensor, Tensor]:
    point_nC = point_1nC[0].long()
    count = len(point_nC)
    graph = networkx.Graph()
    for i in range(count):
        square = (point_nC[i + 1 :] - point_nC[i]).square().sum(1).tolist()
        graph.add_weighted_edges_from(
            (i, j, square_j * count**2 + (i ^ j)) for j, square_j in enumerate(square, i + 1)
        )
    partner_n = torch.empty(count, dtype=torch.int64)
    for i, j in networkx.min_weight_matching(graph):
        partner_n[i], partner_n[j] = j, i
    return pairs_of(partner_n.unsqueeze(0))
