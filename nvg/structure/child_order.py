"""Child order by merging: of two siblings, 2j is the one that Alg. 1 merged first.

Legend: B image of a batch, N position, n cluster of a stage, C channel.
"""

import torch
from torch import Tensor

from nvg.geometry import leaf_order
from nvg.structure.lattice import lattice
from nvg.structure.space import with_positions


@torch.no_grad()
def order_by_merging(latents_BNC: Tensor, leaves_BN: Tensor, space_weight: float = 0.0) -> Tensor:
    """The same hierarchy, leaves [B, N], with its children in the order of merging.

    The greedy algorithm takes the pairs of a level in the strict order of their keys d2 n + (i xor
    j), then min(i, j); so of two siblings the one with the lesser key was merged first. The keys
    are taken on the lattice on which structure is built: whatever backend found the hierarchy, the
    order is exact. The two leaves of a pair are in order of position. `space_weight` is that of the
    builder `greedy+space`, whose keys count distance on the grid too.

    A hierarchy that was not merged greedily (given label maps, other builders) is put in the same
    order by its latents; one without latents (a drawing) keeps the order of positions.
    """
    order_BN = leaf_order(leaves_BN).unflatten(1, (-1, 2)).sort(dim=-1).values.flatten(1)
    point_BnC = lattice(with_positions(latents_BNC, space_weight))
    point_BnC = point_BnC.gather(1, order_BN.unsqueeze(-1).expand_as(point_BnC))
    first_Bn = order_BN  # smallest position of each cluster
    while point_BnC.shape[1] > 2:
        count = point_BnC.shape[1]
        index_Bn = first_Bn.argsort(dim=1).argsort(dim=1)
        left_BnC, right_BnC = point_BnC.unflatten(1, (-1, 2)).unbind(2)
        left_Bn, right_Bn = index_Bn.unflatten(1, (-1, 2)).unbind(2)
        key_Bn = (left_BnC - right_BnC).square().sum(-1) * count + (left_Bn ^ right_Bn)
        order_BN = _earlier_first(order_BN, key_Bn, torch.minimum(left_Bn, right_Bn))
        point_BnC = left_BnC + right_BnC
        first_Bn = first_Bn.unflatten(1, (-1, 2)).amin(2)
    return leaf_order(order_BN).to(leaves_BN.dtype)


def _earlier_first(order_BN: Tensor, key_Bn: Tensor, tie_Bn: Tensor) -> Tensor:
    """The order with each two siblings of a level swapped where the second has the lesser key.

    What a later level computes of its pairs does not depend on the order in them.
    """
    key_1, key_2 = key_Bn.unflatten(1, (-1, 2)).unbind(2)
    tie_1, tie_2 = tie_Bn.unflatten(1, (-1, 2)).unbind(2)
    swap_Bn = (key_2 < key_1) | ((key_2 == key_1) & (tie_2 < tie_1))
    run_Bn2J = order_BN.unflatten(1, (swap_Bn.shape[1], 2, -1))
    return torch.where(swap_Bn[..., None, None], run_Bn2J.flip(2), run_Bn2J).flatten(1)
