"""Canvases as sampling makes them: with wrong tokens here and there (exposure bias).

In training a generator sees canvases of true tokens only, in sampling those of its own. Replacing a
fraction of the tokens below a canvas by codes near them narrows that gap; targets stay true.

Legend: B image of a batch, T token, V code, C channel.
"""

import torch
from torch import Tensor

NEAR = 8  # nearest codes that a token may become


def near_codes(codebook_VC: Tensor) -> Tensor:
    """The nearest other codes of each code, closest first, [V, NEAR] or fewer."""
    distance_VV = torch.cdist(codebook_VC.float(), codebook_VC.float())
    distance_VV.fill_diagonal_(float("inf"))
    return distance_VV.topk(min(NEAR, len(codebook_VC) - 1), largest=False).indices


def corrupted(content_BT: Tensor, near: Tensor, fraction: float) -> Tensor:
    """Tokens of which this fraction, each on its own, is one of the codes near it.

    Random draws come from torch's CPU generator, so a seed fixes them on any device.
    """
    shape, device = content_BT.shape, content_BT.device
    chosen_BT = (torch.rand(shape) < fraction).to(device)
    rank_BT = torch.randint(near.shape[1], shape).to(device)
    return torch.where(chosen_BT, near[content_BT, rank_BT], content_BT)
