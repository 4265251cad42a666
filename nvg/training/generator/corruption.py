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


def draw_errors(shape: torch.Size, near: Tensor, fraction: float) -> tuple[Tensor, Tensor]:
    """Which tokens [B, T] are wrong, each on its own with this probability, and by which near code.

    Drawn on the CPU, so that a seed fixes them on any device.
    """
    return torch.rand(shape) < fraction, torch.randint(near.shape[1], shape)


def corrupted(content_BT: Tensor, near: Tensor, wrong_BT: Tensor, rank_BT: Tensor) -> Tensor:
    """Tokens of which the wrong ones are one of the codes near them, see `draw_errors`."""
    return torch.where(wrong_BT, near[content_BT, rank_BT], content_BT)
