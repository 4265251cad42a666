"""Decode and crop: bytes of an image -> pixels of its views.

Pillow decodes: torchvision's and TurboJPEG's decoders are no faster (docs/PERFORMANCE.md), and its
reference statistics of the field come from its pixels. JPEG's draft mode is faster for small images
only, and changes pixels.

Legend: X view, D row or column of pixels or of the grid, C channel.
"""

import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
from PIL import Image, UnidentifiedImageError

from nvg.errors import InputError
from pipeline.images.crops import Crops, Window, halvings
from pipeline.images.threads import quiet

FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF")  # of these, none runs a program
MOST_PIXELS = 178_956_970  # more is refused as a decompression bomb (Pillow's own error limit)

Result = TypeVar("Result")
Pixels = np.ndarray[Any, np.dtype[np.uint8]]


class ImageError(InputError):
    """An unusable image; the message is the reason in the index."""

    size: tuple[int, int] | None = None
    """Width and height of an image that decodes but cannot be cut."""


@dataclass(frozen=True)
class Views:
    """The stored views of one image."""

    size: tuple[int, int]
    """Width and height of the image itself."""
    windows: list[Window]
    """Where each view lies in it."""
    pixels: Pixels
    """uint8 [X, 3, D, D]."""


def decode_views(data: bytes, crops: Crops, key: str = "") -> Views:
    """Pixels of the views of an image, from file bytes. ImageError when it cannot be used."""
    image = decode(data)
    windows = crops.windows(*image.size, key)
    return Views(image.size, windows, cut(image, windows, crops.size))


def decode(data: bytes) -> Image.Image:
    """An RGB image from file bytes of any mode (grey, palette, alpha, CMYK, 16 bit)."""
    return open_picture(data, _to_rgb)


def open_picture(data: bytes, use: Callable[[Image.Image], Result]) -> Result:
    """Open a picture from file bytes and apply `use`. ImageError when either fails."""
    if not data:
        raise ImageError("empty file")
    try:
        with quiet():  # odd metadata is no reason to refuse an image
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


def cut(image: Image.Image, windows: Sequence[Window], size: int) -> Pixels:
    """The windows' pixels, uint8 [X, 3, size, size]: ADM's resize, then a crop for each.

    ImageError for a strip whose long side would take too many pixels.
    """
    require_cuttable(image, size)
    resized = {window.resized: resize(image, window.resized) for window in windows}
    pixels = np.empty((len(windows), 3, size, size), np.uint8)
    for n, window in enumerate(windows):
        pixels[n] = crop_window(resized[window.resized], window, size)
    return pixels


def require_cuttable(image: Image.Image, size: int) -> None:
    """ImageError for a strip whose long side would take too many pixels, its short side `size`."""
    if max(image.size) * size * size > MOST_PIXELS * min(image.size):
        error = ImageError(f"too long and narrow: {image.width}x{image.height}")
        error.size = image.size
        raise error


def resize(image: Image.Image, size: tuple[int, int]) -> Pixels:
    """An image resized as ADM does, uint8 [D, D', 3]: halved by box while twice too large, then
    bicubically."""
    for halved in halvings(*image.size, min(size)):
        image = image.resize(halved, Image.Resampling.BOX)
    return np.asarray(image.resize(size, Image.Resampling.BICUBIC))


def crop_window(resized_DDC: Pixels, window: Window, size: int) -> Pixels:
    """A window of a resized image [D, D', 3] as pixels [3, size, size]."""
    left, top = window.left, window.top
    square = resized_DDC[top : top + size, left : left + size].transpose(2, 0, 1)
    return square[..., ::-1] if window.flip else square
