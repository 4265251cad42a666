"""Read, decode, crop: bytes of an image -> pixels of its views. A bad image is an error row.

Legend: B image, V view, D pixel row or column.
"""

import io
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
from PIL import Image, UnidentifiedImageError

from nvg.errors import InputError
from pipeline.recipe import View
from pipeline.sources import Row, Source

PREPROCESSING = "adm-center-crop"
FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF")  # of these, none runs a program
MOST_PIXELS = 178_956_970  # more is refused as a decompression bomb (Pillow's own error limit)

Pixels = np.ndarray[Any, np.dtype[np.uint8]]
Block = dict[str, np.ndarray[Any, Any]]


class ImageError(InputError):
    """An image that cannot be used; the message is the reason the index keeps."""


def decode(data: bytes) -> Image.Image:
    """An RGB image from file bytes of any mode (grey, palette, alpha, CMYK, 16 bit)."""
    if not data:
        raise ImageError("empty file")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # odd metadata is no reason to refuse an image
            image = Image.open(io.BytesIO(data), formats=FORMATS)
            if image.width * image.height > MOST_PIXELS:
                raise ImageError(f"too many pixels: {image.width}x{image.height}")
            image.load()
            return _to_rgb(image)
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
    scale = size / min(image.size)
    wide, high = round(image.width * scale), round(image.height * scale)
    image = image.resize((wide, high), Image.Resampling.BICUBIC)
    left, top = (wide - size) // 2, (high - size) // 2
    return np.asarray(image.crop((left, top, left + size, top + size))).transpose(2, 0, 1)


def views_of(pixels: Pixels, views: Sequence[View]) -> Pixels:
    """The stored views [V, 3, D, D] of a centre crop [3, D, D]."""
    made = {View.CENTER: pixels, View.FLIP: pixels[..., ::-1]}
    return np.stack([made[view] for view in views])


def decode_rows(source: Source, rows: Sequence[Row], size: int, views: Sequence[View]) -> Block:
    """One block of columns for `rows`: key, label, class, width, height, reason, pixels.

    pixels is uint8 [B, V, 3, D, D]; the reason of a good image is "", a bad one has pixels 0.
    """
    pixels = np.zeros((len(rows), len(views), 3, size, size), np.uint8)
    width, height = np.zeros(len(rows), np.int32), np.zeros(len(rows), np.int32)
    reason = [""] * len(rows)
    for n, data in enumerate(source.read([row.key for row in rows])):
        try:
            if isinstance(data, OSError):
                raise ImageError(f"cannot be read: {data.strerror or data}")
            image = decode(data)
            width[n], height[n] = image.size
            pixels[n] = views_of(center_crop(image, size), views)
        except ImageError as error:
            reason[n] = str(error)
    names = source.classes
    return {
        "key": np.array([row.key for row in rows], dtype=object),
        "label": np.array([row.label for row in rows], np.int32),
        "class": np.array([names[r.label] if r.label >= 0 else "" for r in rows], dtype=object),
        "width": width,
        "height": height,
        "reason": np.array(reason, dtype=object),
        "pixels": pixels,
    }


class RowPixels:
    """Random access to the centre crops of rows, for training the autoencoder."""

    def __init__(self, source: Source, rows: list[Row], size: int) -> None:
        self.source, self.rows, self.size = source, rows, size
        self.skipped: dict[str, str] = {}

    def __len__(self) -> int:
        return len(self.rows)

    def pixels(self, rows: np.ndarray[Any, Any]) -> Pixels:
        """uint8 [B, 3, D, D] of the readable images among `rows`; the others go to `skipped`."""
        block = decode_rows(self.source, [self.rows[n] for n in rows], self.size, [View.CENTER])
        good = block["reason"] == ""
        self.skipped |= dict(zip(block["key"][~good], block["reason"][~good], strict=True))
        pixels: Pixels = block["pixels"][good, 0]
        if not len(pixels):
            key, reason = block["key"][0], block["reason"][0]
            raise ImageError(f"no readable image in a whole batch; the first is {key}: {reason}")
        return pixels
