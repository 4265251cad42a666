"""The integer lattice on which structure is built: what makes every backend agree to the bit.

Legend: B image, N position, C latent channel.
"""

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from nvg.geometry import last_stage
from nvg.kernels.extremes import channel_extremes
from nvg.kernels.jit import over_slices


@dataclass(frozen=True)
class Frame:
    """Where each image's lattice lies: a point is rint((latent - middle) * scale)."""

    middle: Tensor
    """Middle of every channel's range, float64 [B, 1, C]."""
    scale: Tensor
    """A power of two per image, float64 [B, 1, 1]."""


def lattice_frame(latents_BNC: Tensor) -> Frame:
    """The frame of latents [B, N, C]; ValueError as in `finite_range`.

    The scale is as large as keeps every pair key of every level below 2^53 (METHOD, structure
    construction). The extremes tell it exactly, because rounding is monotonic.
    """
    positions, channels = latents_BNC.shape[1:]
    bits = (53 - 2 * last_stage(positions) - math.ceil(math.log2(channels))) // 2 - 1
    limit = 2.0**bits - 1
    low_B1C, high_B1C = finite_range(latents_BNC)
    middle_B1C = (low_B1C + high_B1C) / 2
    reach_B1C = torch.maximum(high_B1C - middle_B1C, middle_B1C - low_B1C)
    extent_B11 = reach_B1C.amax(2, keepdim=True)
    scale_B11 = torch.exp2(torch.floor(torch.log2(limit / extent_B11)).clamp(-1022, 1023))
    # log2 may round across a power of two: settle on the largest that fits
    scale_B11 = torch.where(scale_B11 * extent_B11 > limit, scale_B11 / 2, scale_B11)
    scale_B11 = torch.where(scale_B11 * 2 * extent_B11 <= limit, scale_B11 * 2, scale_B11)
    return Frame(middle_B1C, torch.where(extent_B11 == 0, 1.0, scale_B11))


def finite_range(latents_BNC: Tensor) -> tuple[Tensor, Tensor]:
    """Least and largest value of every channel, float64 [B, 1, C].

    ValueError for NaN or Inf, or where float64 cannot hold the middle of the two.
    """
    batch, _, channels = latents_BNC.shape
    if latents_BNC.device.type == "cpu":
        wide = latents_BNC if latents_BNC.dtype.itemsize >= 4 else latents_BNC.float()
        latents = wide.detach().contiguous().numpy()
        low_BC, high_BC = np.empty((2, batch, channels))
        over_slices(lambda b: channel_extremes(latents[b], low_BC[b], high_BC[b]), batch)
        low_B1C, high_B1C = (torch.from_numpy(side).unsqueeze(1) for side in (low_BC, high_BC))
    else:
        low_B1C = latents_BNC.amin(1, keepdim=True).to(torch.float64)
        high_B1C = latents_BNC.amax(1, keepdim=True).to(torch.float64)
    if not bool((torch.isfinite(low_B1C) & torch.isfinite(high_B1C)).all()):
        raise ValueError(f"latents {tuple(latents_BNC.shape)} hold NaN or Inf")
    if not bool(torch.isfinite(low_B1C + high_B1C).all()):
        raise ValueError(f"latents {tuple(latents_BNC.shape)} span more than float64 can hold")
    return low_B1C, high_B1C


def lattice(latents_BNC: Tensor) -> Tensor:
    """Latents [B, N, C] on the integer lattice, as integers held in float64 [B, N, C]."""
    frame = lattice_frame(latents_BNC)
    return torch.round((latents_BNC.to(torch.float64) - frame.middle) * frame.scale)
