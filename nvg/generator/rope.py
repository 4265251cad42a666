"""Structure-aware rotary position embedding (A.4).

Legend: B image of a batch, T token, A id axis, H head, E head channel, G rotated pair.

Every token carries a vector of ids: kind (class token, image, structure), the K structure channels,
row and column. Each axis rotates its own part of the head's channels.
"""

import torch
from torch import Tensor, nn

from nvg.errors import InputError

KIND_DIMS = 8  # head channels for the token kind
CHANNEL_DIMS = 2  # head channels per structure channel

Rotation = tuple[Tensor, Tensor]  # cosines; sines, negative in a pair's first channel: [B, T, E]


def rope_dims(head_width: int, K: int) -> tuple[int, ...]:
    """Head channels per id axis: kind, K structure channels, row, column; they sum to the width."""
    spatial = head_width - KIND_DIMS - CHANNEL_DIMS * K
    if spatial < 4 or spatial % 4:
        raise InputError(
            f"head width {head_width} leaves {spatial} channels for rows and columns with K = {K}: "
            "let width / heads leave a positive multiple of 4"
        )
    return (KIND_DIMS, *[CHANNEL_DIMS] * K, spatial // 2, spatial // 2)


class Rotary(nn.Module):
    """Angles of tokens by their ids; axis a owns dims[a] channels of the head.

    What does not depend on the ids is computed once, on the CPU: every device turns by the same.
    """

    frequency_G: Tensor
    axis_G: Tensor

    def __init__(self, dims: tuple[int, ...], theta: float = 10000.0) -> None:
        super().__init__()
        self.axes = len(dims)
        exponents = [torch.arange(0, width, 2, dtype=torch.float32) / width for width in dims]
        axis_G = torch.tensor([axis for axis, width in enumerate(dims) for _ in range(width // 2)])
        self.register_buffer("frequency_G", theta ** -torch.cat(exponents), persistent=False)
        self.register_buffer("axis_G", axis_G, persistent=False)

    def forward(self, ids_BTA: Tensor) -> Rotation:
        """Cosines and signed sines [B, T, E] for `rotate`."""
        if ids_BTA.shape[-1] != self.axes:
            raise ValueError(f"ids {tuple(ids_BTA.shape)} do not fit {self.axes} axes")
        angle_BTG = ids_BTA.index_select(-1, self.axis_G).float() * self.frequency_G
        cos_BTG, sin_BTG = angle_BTG.cos(), angle_BTG.sin()
        pairs = (cos_BTG, cos_BTG), (-sin_BTG, sin_BTG)
        cos_BTE, sin_BTE = (torch.stack(pair, dim=-1).flatten(-2) for pair in pairs)
        return cos_BTE, sin_BTE


def rotate(values: Tensor, rotation: Rotation) -> Tensor:
    """Turn adjacent channel pairs of [..., B, H, T, E] by the angles of their tokens, in fp32."""
    cos_B1TE, sin_B1TE = (part.unsqueeze(1) for part in rotation)
    single = values.float()
    other = single.unflatten(-1, (-1, 2)).flip(-1).flatten(-2)
    return (single * cos_B1TE + other * sin_B1TE).type_as(values)
