"""Greedy structure by latents and place: row and column join the channels of the latents.

Legend: B image of a batch, N position, C channel.

Where latents hardly differ, as in a plain background, greedy pairs noise. Here the squared distance
of two clusters is that of their latents plus weight^2 times that of their places, both in units of
the image's latent spread.
"""

import math

import numpy as np
import torch
from torch import Tensor

from nvg.backend import Backend
from nvg.geometry import last_stage
from nvg.structure.greedy import greedy
from nvg.structure.lattice import LatentsError, lattice_frame
from nvg.structure.names import require_space_weight


def greedy_with_space(
    latents_BNC: Tensor, space_weight: float, backend: str = Backend.AUTO
) -> Tensor:
    """Alg. 1 on latents [B, N, C] `with_positions`; weight 0 is `greedy`. -> leaves [B, N]."""
    return greedy(with_positions(latents_BNC, space_weight), backend)


def with_positions(latents_BNC: Tensor, space_weight: float) -> Tensor:
    """Latents [B, N, C] with row and column as two more channels, float64 [B, N, C+2].

    Centred coordinates whose mean square over the grid and both channels is 1, times the weight and
    the spread of the image (`latent_spread`). Their step is rounded down to an even number of steps
    of the lattice that `greedy` then takes: so it holds them exactly, and equal distances on the
    grid stay equal. A weight of 0 gives the latents as they are. ValueError on a negative or
    infinite weight; LatentsError as in `lattice_frame`, or where positions exceed float64.
    """
    require_space_weight(space_weight)
    if space_weight == 0:
        return latents_BNC
    high, wide = grid_sides(latents_BNC.shape[1])
    index_N = torch.arange(high * wide, device=latents_BNC.device)
    place_NC = torch.stack((2 * (index_N // wide) - (high - 1), 2 * (index_N % wide) - (wide - 1)))
    place_NC = place_NC.T.double()  # twice the centred coordinates: integers
    unit = math.sqrt(6 / (high * high + wide * wide - 2))  # of twice a coordinate
    half_step = (space_weight * latent_spread(latents_BNC) * unit).view(-1, 1, 1)
    place_BNC = half_step * place_NC
    if not torch.isfinite(place_BNC).all():
        raise LatentsError("latents times space_weight span more than float64 can hold")
    joined_BNC = torch.cat((latents_BNC.double(), place_BNC), dim=-1)
    scale = lattice_frame(joined_BNC).scale
    joined_BNC[..., -2:] = torch.floor(half_step * scale) / scale * place_NC
    return joined_BNC


def latent_spread(latents_BNC: Tensor) -> Tensor:
    """Root mean square of each image's latents about the mean of their channel, float64 [B].

    Taken on the integer lattice of the latents, where the sums are exact in any order: so it is the
    same on every device and number of threads. 1 for a constant image, whose structure is then that
    of the positions alone.
    """
    frame = lattice_frame(latents_BNC)
    point_BNC = frame.points(latents_BNC)
    _, positions, channels = point_BNC.shape
    total_B = positions * point_BNC.square().sum((1, 2)) - point_BNC.sum(1).square().sum(1)
    # quotients and root by numpy, which rounds them as IEEE 754 asks
    variance_B = total_B.cpu().numpy() / (positions * positions * channels)
    spread_B = np.sqrt(variance_B) / frame.scale.flatten().cpu().numpy()
    spread_B[spread_B == 0] = 1.0
    return torch.from_numpy(spread_B).to(latents_BNC.device)


def grid_sides(positions: int) -> tuple[int, int]:
    """Rows and columns of the latent grid; for odd K it is twice as wide as high."""
    high = 1 << last_stage(positions) // 2
    return high, positions // high
