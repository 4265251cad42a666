"""How the codebook is used, stage by stage. In numpy: looking at a store needs no torch.

Legend: B image of a batch, S stage, V code, T token.
"""

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from nvg.quantizer.residual import Layout

Counts = np.ndarray[Any, np.dtype[np.int64]]
Values = np.ndarray[Any, np.dtype[np.float64]]


def stage_hits(content_BT: np.ndarray[Any, Any], layout: "Layout", codes: int) -> Counts:
    """How often each stage of content [B, T] uses each code, int64 [S, V]."""
    return np.stack(
        [
            np.bincount(content_BT[:, layout.stage_slice(stage)].ravel(), minlength=codes)
            for stage in range(layout.stages)
        ]
    )


def stage_usage(hits_SV: Counts) -> Values:
    """Codes that each stage uses, as a fraction of the attainable maximum, [S].

    The maximum is the codebook's size, or the number of tokens where that is smaller.
    """
    attainable_S = hits_SV.sum(1).clip(max=hits_SV.shape[1])
    used: Values = (hits_SV > 0).sum(1) / attainable_S
    return used


def stage_entropy(hits_SV: Counts) -> Values:
    """Entropy in bits of each stage's tokens, [S]; 0 for a stage without any."""
    probability_SV = hits_SV / hits_SV.sum(1, keepdims=True).clip(min=1)
    log_SV = np.log2(probability_SV, where=probability_SV > 0, out=np.zeros_like(probability_SV))
    entropy: Values = -(probability_SV * log_SV).sum(1)
    return entropy
