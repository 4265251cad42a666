"""Structure-aware rotary position embedding (A.4).

Legend: B image of a batch, T token, A id axis, H head, E head channel, G rotated pair.

Every token carries a vector of ids: kind (class token, image, structure), the K structure channels,
row and column. Each axis rotates its own part of the head's channels.
"""

import torch
from torch import Tensor

from nvg.errors import InputError

KIND_DIMS = 8  # head channels for the token kind
CHANNEL_DIMS = 2  # head channels per structure channel

Rotation = tuple[Tensor, Tensor]


def rope_dims(head_width: int, K: int) -> tuple[int, ...]:
    """Head channels per id axis: kind, K structure channels, row, column; they sum to the width."""
    spatial = head_width - KIND_DIMS - CHANNEL_DIMS * K
    if spatial < 4 or spatial % 4:
        raise InputError(
            f"head width {head_width} leaves {spatial} channels for rows and columns with K = {K}; "
            "it must leave a positive multiple of 4"
        )
    return (KIND_DIMS, *[CHANNEL_DIMS] * K, spatial // 2, spatial // 2)


def rotation(ids: Tensor, dims: tuple[int, ...], theta: float = 10000.0) -> Rotation:
    """Cosines and sines [B, T, E/2] for ids [B, T, A]; axis a owns dims[a] channels of the head."""
    if ids.shape[-1] != len(dims):
        raise ValueError(f"ids {tuple(ids.shape)} do not fit {len(dims)} axes")
    angles = []
    for axis, width in enumerate(dims):
        exponent_G = torch.arange(0, width, 2, dtype=torch.float32, device=ids.device) / width
        angles.append(ids[..., axis, None].float() * theta**-exponent_G)
    angle_BTG = torch.cat(angles, dim=-1)
    return angle_BTG.cos(), angle_BTG.sin()


def rotate(values: Tensor, rotation: Rotation) -> Tensor:
    """Rotate adjacent channel pairs of [B, H, T, E] by the angles of their tokens, in fp32."""
    cos_B1TG, sin_B1TG = (part.unsqueeze(1) for part in rotation)
    even_BHTG, odd_BHTG = values.float().unflatten(-1, (-1, 2)).unbind(-1)
    rotated = torch.stack(
        (even_BHTG * cos_B1TG - odd_BHTG * sin_B1TG, even_BHTG * sin_B1TG + odd_BHTG * cos_B1TG),
        dim=-1,
    )
    return rotated.flatten(-2).type_as(values)
