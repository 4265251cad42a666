"""Pictures as users hold them <-> pixels as the models take them.

Legend: B image of a batch, D row or column of pixels or of the grid, C channel.
"""

from collections.abc import Sequence
from enum import StrEnum
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor

from nvg.tokenizer.adm import center_crop

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

    Pictures of another size are resized and cut as `center_crop` does, which is the view `center`
    of a recipe. Pillow's images are turned upright by their EXIF orientation, and transparent ones
    are laid on white; colour profiles are ignored. ValueError for other than 8 bits or 3 channels,
    and for no picture.
    """
    if isinstance(pictures, Sequence):
        if not pictures:
            raise ValueError("no picture is given")
        return torch.cat([to_pixels(picture, size) for picture in pictures])
    if isinstance(pictures, Image.Image):
        pictures = np.array(_upright(pictures))
    pixels = torch.as_tensor(pictures)
    if pixels.dtype is not torch.uint8:
        raise ValueError(f"pictures must be uint8, 0..255, not {pixels.dtype}")
    found = tuple(pixels.shape)
    pixels = pixels[None] if pixels.ndim == 3 else pixels
    if pixels.ndim == 4 and pixels.shape[-1] == 3 and pixels.shape[1] != 3:
        pixels = pixels.permute(0, 3, 1, 2)
    if pixels.ndim != 4 or pixels.shape[1] != 3 or 0 in found:
        raise ValueError(f"pictures have the shape {found}: 3 channels, first or last, are needed")
    if tuple(pixels.shape[2:]) == (size, size):
        return pixels.contiguous()
    squares = [
        center_crop(Image.fromarray(picture.permute(1, 2, 0).cpu().numpy()), size)
        for picture in pixels.contiguous()
    ]
    return torch.from_numpy(np.stack(squares)).permute(0, 3, 1, 2).contiguous()


def _upright(image: Image.Image) -> Image.Image:
    """RGB as a viewer shows it, on white where it is transparent."""
    image = ImageOps.exif_transpose(image)
    if not image.has_transparency_data:
        return image.convert("RGB")
    shown = image.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", shown.size, "white"), shown).convert("RGB")


def as_kind(pixels: Tensor, kind: str) -> Any:
    """Pixels uint8 [B, 3, D, D] as a `Kind`."""
    wanted = Kind(kind)
    if wanted is Kind.TENSOR:
        return pixels
    pixels_BDDC = pixels.cpu().permute(0, 2, 3, 1).contiguous().numpy()
    if wanted is Kind.ARRAY:
        return pixels_BDDC
    return [Image.fromarray(picture) for picture in pixels_BDDC]
