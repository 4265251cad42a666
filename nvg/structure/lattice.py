"""The integer lattice on which structure is built, so that all backends agree to the bit.

Legend: B image of a batch, N position, C channel.
"""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from nvg.geometry import last_stage
from nvg.kernels.lattice import frames


class LatentsError(ValueError):
    """Latents from which no structure can be built; `build_leaves` adds their shape."""


@dataclass(frozen=True)
class Frame:
    """Where each image's lattice lies: a point is rint((latent - middle) * scale)."""

    middle: Tensor
    """Middle of every channel's range, float64 [B, 1, C]."""
    scale: Tensor
    """A power of two per image, float64 [B, 1, 1]."""

    def points(self, latents_BNC: Tensor) -> Tensor:
        """Latents [B, N, C] on the lattice, as integers held in float64 [B, N, C]."""
        return torch.round((latents_BNC.to(torch.float64) - self.middle) * self.scale)


def lattice_limit(positions: int, channels: int) -> float:
    """The largest coordinate: 2^b - 1, which keeps every pair key of every level below 2^53.

    See METHOD, structure construction.
    """
    bits = (53 - 2 * last_stage(positions) - math.ceil(math.log2(channels))) // 2 - 1
    return 2.0**bits - 1


def lattice_frame(latents_BNC: Tensor) -> Frame:
    """The frame of latents [B, N, C], from their extremes; LatentsError as in `require_scale`."""
    sides = latents_BNC.detach().amin(1), latents_BNC.detach().amax(1)
    low_BC, high_BC = (side.double().cpu().numpy() for side in sides)
    middle_BC, scale_B = np.empty_like(low_BC), np.empty(len(low_BC))
    infinite = ~(np.isfinite(low_BC) & np.isfinite(high_BC))
    low_BC[infinite] = np.nan
    frames(low_BC, high_BC, lattice_limit(*latents_BNC.shape[1:]), middle_BC, scale_B)
    require_scale(scale_B)
    middle, scale = (torch.from_numpy(a).to(latents_BNC.device) for a in (middle_BC, scale_B))
    return Frame(middle.unsqueeze(1), scale.view(-1, 1, 1))


def require_scale(scale_B: np.ndarray[Any, Any]) -> None:
    """LatentsError where `frame` found NaN or Inf, or a span that float64 cannot hold."""
    if np.isnan(scale_B).any():
        raise LatentsError("latents hold NaN or Inf")
    if np.isinf(scale_B).any():
        raise LatentsError("latents span more than float64 can hold")


def lattice(latents_BNC: Tensor) -> Tensor:
    """Latents [B, N, C] on the integer lattice, as integers held in float64 [B, N, C]."""
    return lattice_frame(latents_BNC).points(latents_BNC)
