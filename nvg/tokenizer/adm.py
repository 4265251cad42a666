"""ADM's resize and centre crop, which nearly all work on ImageNet uses.

Legend: C channel, D row or column of pixels or of the grid.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
from PIL import Image

Pixels = np.ndarray[Any, np.dtype[np.uint8]]


def halvings(width: int, height: int, short: int) -> Iterator[tuple[int, int]]:
    """Sizes of ADM's halvings, rounded down, while the short side is at least twice `short`."""
    while min(width, height) >= 2 * short:
        width, height = width // 2, height // 2
        yield width, height


def resized(width: int, height: int, short: int) -> tuple[int, int]:
    """The size of an image after ADM's resize to the short side `short`: halved, then scaled."""
    for halved in halvings(width, height, short):
        width, height = halved
    scale = short / min(width, height)
    return round(width * scale), round(height * scale)


def resize(image: Image.Image, size: tuple[int, int]) -> Pixels:
    """An image resized as ADM does, uint8 [D, D', 3]: halved by box while twice too large, then
    bicubically."""
    for halved in halvings(*image.size, min(size)):
        image = image.resize(halved, Image.Resampling.BOX)
    return np.asarray(image.resize(size, Image.Resampling.BICUBIC))


def center_crop(image: Image.Image, size: int) -> Pixels:
    """The middle square of an RGB image whose short side becomes `size`, uint8 [D, D, 3]."""
    sides = resized(*image.size, size)
    left, top = ((side - size) // 2 for side in sides)
    return resize(image, sides)[top : top + size, left : left + size]
