"""Pictures as users hold them <-> pixels as the models take them.

Legend: B image of a batch, D row or column of pixels or of the grid, C channel.
"""

from collections.abc import Sequence
from enum import StrEnum
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

Pictures = Any
"""One picture or a batch: of Pillow, arrays or tensors uint8, channels last or first."""


class Kind(StrEnum):
    """What pictures are returned as."""

    PIL = "pil"
    """A list of Pillow's images."""
    ARRAY = "array"
    """NumPy, uint8 [B, D, D, 3]."""
    TENSOR = "tensor"
    """torch, uint8 [B, 3, D, D]."""


def to_pixels(pictures: Pictures, size: int) -> Tensor:
    """Pixels uint8 [B, 3, D, D] of one picture or several, `size` pixels a side.

    ValueError for pictures of another size, for other than 8 bits, and for no picture.
    """
    if isinstance(pictures, Sequence):
        if not pictures:
            raise ValueError("no picture is given")
        return torch.cat([to_pixels(picture, size) for picture in pictures])
    if isinstance(pictures, Image.Image):
        pictures = np.array(pictures.convert("RGB"))
    pixels = torch.as_tensor(pictures)
    if pixels.dtype is not torch.uint8:
        raise ValueError(f"pictures must be uint8, 0..255, not {pixels.dtype}")
    found = tuple(pixels.shape)
    pixels = pixels[None] if pixels.ndim == 3 else pixels
    if pixels.ndim == 4 and pixels.shape[-1] == 3 and pixels.shape[1] != 3:
        pixels = pixels.permute(0, 3, 1, 2)
    if tuple(pixels.shape[1:]) != (3, size, size):
        raise ValueError(
            f"pictures have the shape {found}, this tokenizer takes 3 channels of {size}x{size} "
            "pixels: cut them first"
        )
    return pixels.contiguous()


def as_kind(pixels: Tensor, kind: str) -> Any:
    """Pixels uint8 [B, 3, D, D] as a `Kind`."""
    wanted = Kind(kind)
    if wanted is Kind.TENSOR:
        return pixels
    pixels_BDDC = pixels.cpu().permute(0, 2, 3, 1).contiguous().numpy()
    if wanted is Kind.ARRAY:
        return pixels_BDDC
    return [Image.fromarray(picture) for picture in pixels_BDDC]
