"""Decode and crop: bytes of an image -> pixels of its views.

Legend: B image, V view, D pixel row or column.
"""

import io
import warnings
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import numpy as np
from PIL import Image, UnidentifiedImageError

from nvg.errors import InputError
from pipeline.recipe import View

PREPROCESSING = "adm-center-crop"
FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF")  # of these, none runs a program
MOST_PIXELS = 178_956_970  # more is refused as a decompression bomb (Pillow's own error limit)

Result = TypeVar("Result")
Array = np.ndarray[Any, Any]
Pixels = np.ndarray[Any, np.dtype[np.uint8]]


class ImageError(InputError):
    """An image that cannot be used; the message is the reason the index keeps."""


def decode(data: bytes) -> Image.Image:
    """An RGB image from file bytes of any mode (grey, palette, alpha, CMYK, 16 bit)."""
    return open_picture(data, _to_rgb)


def open_picture(data: bytes, use: Callable[[Image.Image], Result]) -> Result:
    """What `use` makes of the picture in file bytes. ImageError when either cannot be done."""
    if not data:
        raise ImageError("empty file")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # odd metadata is no reason to refuse an image
            image = Image.open(io.BytesIO(data), formats=FORMATS)
            if image.width * image.height > MOST_PIXELS:
                raise ImageError(f"too many pixels: {image.width}x{image.height}")
            image.load()
            return use(image)
    except UnidentifiedImageError:
        raise ImageError("not an image") from None
    except Image.DecompressionBombError:
        raise ImageError("too many pixels") from None
    except ImageError:
        raise
    except Exception as error:  # decoders raise anything on damaged data
        raise ImageError(
            f"damaged: {str(error).splitlines()[0] if str(error) else error!r}"
        ) from error


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I") or image.mode == "F":  # more than 8 bits a channel
        values = np.asarray(image, dtype=np.float64)
        deep = image.mode.startswith("I;16") or values.max(initial=0.0) > 255
        top = 65535.0 if deep else 255.0
        image = Image.fromarray((values * (255 / top)).clip(0, 255).astype(np.uint8))
    if image.mode == "P" and "transparency" in image.info:
        image = image.convert("RGBA")
    return image.convert("RGB")


def center_crop(image: Image.Image, size: int) -> Pixels:
    """ADM's centre crop: halve by box while twice too large, bicubic to the short side, crop.

    Pixels uint8 [3, size, size]. ImageError for a strip whose long side would take too many.
    """
    if max(image.size) * size * size > MOST_PIXELS * min(image.size):
        raise ImageError(f"too long and narrow: {image.width}x{image.height}")
    while min(image.size) >= 2 * size:
        image = image.resize((image.width // 2, image.height // 2), Image.Resampling.BOX)
    whole, (left, top) = crop_box(*image.size, size)
    image = image.resize(whole, Image.Resampling.BICUBIC)
    return np.asarray(image.crop((left, top, left + size, top + size))).transpose(2, 0, 1)


def crop_box(width: int, height: int, size: int) -> tuple[tuple[int, int], tuple[int, int]]:
    """Width and height of an image whose short side is `size`, and left and top of its centre."""
    scale = size / min(width, height)
    wide, high = round(width * scale), round(height * scale)
    return (wide, high), ((wide - size) // 2, (high - size) // 2)


def views_of(crop: Array, views: Sequence[View]) -> Array:
    """The stored views [V, ...] of a centre crop whose last axis runs from left to right."""
    made = {View.CENTER: crop, View.FLIP: crop[..., ::-1]}
    return np.stack([made[view] for view in views])
