"""Quality of a hierarchy: explained variance of the latents, agreement of borders.

Legend: B image of a batch, N position, n cluster of a stage, J member of a cluster, C channel, S
stage.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from einops import rearrange
from torch import Tensor

from nvg.geometry import labels, last_stage, leaf_order


@dataclass(frozen=True)
class Quality:
    """Measures of a batch of hierarchies, one entry per stage, float64 [S]."""

    variance: Tensor
    """Mean squared distance of a latent value from its cluster's mean."""
    explained: Tensor
    """Fraction of the variance at stage 0 that the clusters explain, 0..1."""
    border_recall: Tensor | None = None
    """Fraction of the region borders that are cluster borders (1 if there are none); None without
    a label map."""
    border_precision: Tensor | None = None
    """Fraction of the cluster borders that are region borders (1 if there are none)."""


def measure_structure(latents: Tensor, leaves: Tensor, segments: Tensor | None = None) -> Quality:
    """Measure leaves [B, N] against latents [B, N, C], and label maps [B, N] when given.

    A border is a pair of horizontal or vertical neighbors on the square grid with different labels.
    ValueError when the shapes do not fit.
    """
    _check(latents, leaves, segments)
    with torch.no_grad():
        variance_S = _variance(latents.double(), leaves)
        explained_S = explained_fraction(variance_S)
        if segments is None:
            return Quality(variance_S, explained_S)
        return Quality(variance_S, explained_S, *_borders(leaves, segments.to(leaves.device)))


def explained_fraction(variance_S: Tensor) -> Tensor:
    """Fraction of the variance at stage 0 that each stage explains; 1 for constant latents."""
    total = variance_S[0]
    return torch.where(total > 0, 1 - variance_S / total, torch.ones_like(variance_S))


def _variance(latents_BNC: Tensor, leaves_BN: Tensor) -> Tensor:
    positions = latents_BNC.shape[1]
    order_BN = leaf_order(leaves_BN)
    # relative to the first position, so that a constant image has exactly zero variance
    latents_BNC = latents_BNC - latents_BNC[:, :1]
    sorted_BNC = latents_BNC.gather(1, order_BN.unsqueeze(-1).expand_as(latents_BNC))
    variances = []
    for stage in range(last_stage(positions) + 1):
        cluster_BnJC = rearrange(sorted_BNC, "b (n m) c -> b n m c", n=1 << stage)
        deviation_BnJC = cluster_BnJC - cluster_BnJC.mean(2, keepdim=True)
        variances.append(deviation_BnJC.square().mean())
    return torch.stack(variances)


def _borders(leaves_BN: Tensor, segments_BN: Tensor) -> tuple[Tensor, Tensor]:
    K = last_stage(leaves_BN.shape[1])
    region_BE = _differs(segments_BN)
    recall, precision = [], []
    for stage in range(K + 1):
        cluster_BE = _differs(labels(leaves_BN, stage, K))
        both = (region_BE & cluster_BE).sum().double()
        recall.append(_fraction(both, region_BE.sum()))
        precision.append(_fraction(both, cluster_BE.sum()))
    return torch.stack(recall), torch.stack(precision)


def _differs(label_BN: Tensor) -> Tensor:
    """Whether the labels of each pair of neighbors differ: horizontal pairs, then vertical ones."""
    grid = round(label_BN.shape[1] ** 0.5)
    label_BDD = rearrange(label_BN, "b (y x) -> b y x", y=grid)
    beside = label_BDD[:, :, 1:] != label_BDD[:, :, :-1]
    above = label_BDD[:, 1:] != label_BDD[:, :-1]
    return torch.cat((beside.flatten(1), above.flatten(1)), dim=1)


def _fraction(part: Tensor, whole: Tensor) -> Tensor:
    return torch.where(whole > 0, part / whole.clamp(min=1), torch.ones_like(part))


def _check(latents: Tensor, leaves: Tensor, segments: Tensor | None) -> None:
    if latents.ndim != 3 or tuple(leaves.shape) != tuple(latents.shape[:2]):
        raise ValueError(
            f"latents {tuple(latents.shape)} and leaves {tuple(leaves.shape)} do not fit: "
            "[B, N, C] and [B, N] are needed"
        )
    if segments is not None and (
        tuple(segments.shape) != tuple(leaves.shape) or leaves.shape[1] != _square(leaves.shape[1])
    ):
        raise ValueError(
            f"segments {tuple(segments.shape)} must be a label map per image on the square grid "
            f"of leaves {tuple(leaves.shape)}: see `grid_labels`"
        )


def _square(positions: int) -> int:
    return round(positions**0.5) ** 2


# key, width and height of an image -> its regions on the latent grid, int32 [L]
RegionReader = Callable[[str, int, int], np.ndarray[Any, Any]]
