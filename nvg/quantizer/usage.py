"""How the codebook is used, stage by stage.

Legend: B image of a batch, S stage, V code, T token.
"""

import math

import torch
from torch import Tensor

from nvg.quantizer.residual import Layout


def stage_hits(content: Tensor, layout: Layout, codes: int) -> Tensor:
    """How often each stage of content [B, T] draws each codeword, int64 [S, V]."""
    return torch.stack(
        [
            torch.bincount(content[:, layout.stage_slice(stage)].flatten().cpu(), minlength=codes)
            for stage in range(layout.stages)
        ]
    )


def stage_usage(hits_SV: Tensor) -> Tensor:
    """Share of the codebook that each stage uses, against the most its draws allow, [S]."""
    reach_S = hits_SV.sum(1).clamp(max=hits_SV.shape[1])
    return (hits_SV > 0).sum(1).double() / reach_S


def stage_entropy(hits_SV: Tensor) -> Tensor:
    """Entropy in bits of each stage's tokens, [S]; 0 for a stage without any."""
    share_SV = hits_SV.double() / hits_SV.sum(1, keepdim=True).clamp(min=1)
    return -torch.xlogy(share_SV, share_SV).sum(1) / math.log(2)
