"""A picture as Pillow opens it -> upright RGB: levels, colour profile, transparency, orientation.

Legend: D row or column of pixels or of the grid, C channel.
"""

import io
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntFlag
from functools import lru_cache
from typing import Any

import numpy as np
from PIL import Image, ImageCms

from pipeline.recipe import DataConfig, Exif, Icc

ORIENTATION = 0x0112  # the EXIF tag
TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
DAMAGED_EXIF = (
    OSError,
    SyntaxError,
    ValueError,
    TypeError,
    LookupError,
    ArithmeticError,
    struct.error,
)
BITS, HIGHEST = 258, 281  # TIFF tags: bits of a sample, its highest value
TWELVE_BITS = 4095
STRIP_PIXELS = 1 << 18  # of deep levels that are scaled at once
ROUNDING = 2  # levels; a profile that moves no colour by more is sRGB

Levels = np.ndarray[Any, np.dtype[np.float64]]


class Fix(IntFlag):
    """What was done to a picture beyond reading its pixels."""

    TURNED = 1
    """By its EXIF orientation."""
    LAID = 2
    """On the background, where it is transparent."""
    CONVERTED = 4
    """From the colours of its ICC profile to sRGB."""
    UNSOUND = 8
    """Its ICC profile is broken, or of other channels, and ignored."""
    STRETCHED = 16
    """From 9 to 15 bits, or from 0..1."""


@dataclass(frozen=True)
class Reading:
    """How pictures become RGB."""

    exif: Exif = Exif.TURN
    icc: Icc = Icc.SRGB
    background: str | None = "white"
    """None: alpha is dropped, and the colours under it show."""
    is_former: bool = False
    """For a store that was begun before there was a choice: with its formats and levels."""

    @staticmethod
    def of(data: DataConfig) -> "Reading":
        """As a recipe says; as before where its keys are None."""
        if data.exif is None:
            return Reading(Exif.IGNORE, Icc.IGNORE, None, is_former=True)
        return Reading(data.exif, data.icc or Icc.IGNORE, data.background)

    def rgb(self, image: Image.Image) -> tuple[Image.Image, Fix]:
        """A loaded picture of any mode (grey, palette, alpha, CMYK, 16 bit) in RGB."""
        turn = _turn(image) if self.exif is Exif.TURN else None
        image, done = _eight_bits(image, self.is_former)
        alpha = None
        if image.has_transparency_data and self.background is not None:
            has_band = "A" in image.getbands()
            alpha = (image if has_band else image.convert("RGBA")).getchannel("A")
        image = _opaque(image)
        if self.icc is Icc.SRGB and (profile := image.info.get("icc_profile")):
            image, found = _srgb(image, profile)
            done |= found
        image = image if image.mode == "RGB" else image.convert("RGB")
        if alpha is not None and alpha.getextrema()[0] != 255:
            ground = Image.new("RGB", image.size, self.background)
            ground.paste(image, mask=alpha)
            image, done = ground, done | Fix.LAID
        if turn is not None:
            image, done = image.transpose(turn), done | Fix.TURNED
        return image, done


def _turn(image: Image.Image) -> Image.Transpose | None:
    """What makes a picture upright, None where it is; Pillow itself turns a TIFF."""
    try:
        return TURNS.get(image.getexif().get(ORIENTATION, 1))
    except DAMAGED_EXIF:
        return None


def _opaque(image: Image.Image) -> Image.Image:
    """Colours alone, of the same profile: without alpha and palette."""
    if image.mode in ("LA", "La"):
        return image.getchannel("L")
    if image.mode in ("P", "PA", "RGBA", "RGBa"):
        return image.convert("RGBA").convert("RGB")
    return image


def _eight_bits(image: Image.Image, is_former: bool) -> tuple[Image.Image, Fix]:
    """More than 8 bits a channel, integers or floats, scaled to 8; others as they are."""
    if not (image.mode.startswith("I") or image.mode == "F"):
        return image, Fix(0)
    highest = max(float(level_DD.max(initial=0.0)) for _, level_DD in _strips(image))
    top = 65535.0 if image.mode.startswith("I;16") or highest > 255 else 255.0
    usual = top
    if not is_former:
        top = _top(image, highest) or top
    scaled_DD = np.empty((image.height, image.width), np.uint8)
    for rows, level_DD in _strips(image):
        scaled_DD[rows] = (level_DD * (255 / top)).clip(0, 255)
    return Image.fromarray(scaled_DD), Fix(0) if top == usual else Fix.STRETCHED


def _strips(image: Image.Image) -> Iterator[tuple[slice, Levels]]:
    """Levels of some rows at a time, not-a-number as 0: all at once would take 8 bytes a pixel."""
    step = max(STRIP_PIXELS // image.width, 1)
    for start in range(0, image.height, step):
        rows = slice(start, min(start + step, image.height))
        part = image.crop((0, rows.start, image.width, rows.stop))
        yield rows, np.nan_to_num(np.asarray(part, dtype=np.float64), nan=0.0)


def _top(image: Image.Image, highest: float) -> float | None:
    """The level of white where it is neither 255 nor 65535: of TIFFs with fewer bits, of floats.

    A TIFF of 16 bits without a level above 4095 is taken for one of 12, as cameras and microscopes
    write them; a float picture without one above 1 is of 0..1.
    """
    if image.mode == "F":
        return 1.0 if 0 < highest <= 1 else None
    tags = getattr(image, "tag_v2", None)
    if tags is None:
        return None
    told = (tags.get(BITS) or (16,))[0]
    if 8 < told < 16:
        return float(2**told - 1)
    limit = tags.get(HIGHEST)
    limit = limit[0] if isinstance(limit, tuple) else limit
    if limit and 255 < limit < 65535:
        return float(limit)
    is_deep = image.mode.startswith("I;16") or highest > 255
    return float(TWELVE_BITS) if is_deep and highest <= TWELVE_BITS else None


def _srgb(image: Image.Image, profile: bytes) -> tuple[Image.Image, Fix]:
    """Colours of a profile as sRGB; as they are where the profile is unusable, or sRGB."""
    transform, found = _transform(profile, image.mode)
    if transform is None:
        return image, found
    return ImageCms.applyTransform(image, transform) or image, found


@lru_cache(64)
def _transform(profile: bytes, mode: str) -> tuple[ImageCms.ImageCmsTransform | None, Fix]:
    """From a profile's colours to sRGB, None where nothing is to be done."""
    try:
        given = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        transform = ImageCms.buildTransform(given, ImageCms.createProfile("sRGB"), mode, "RGB")
        if mode == "CMYK":
            return transform, Fix.CONVERTED
        plain = _samples(mode)
        moved = ImageCms.applyTransform(plain, transform)
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError):
        return None, Fix.UNSOUND
    apart_DDC = np.asarray(moved, np.int16) - np.asarray(plain.convert("RGB"), np.int16)
    if np.abs(apart_DDC).max() <= ROUNDING:
        return None, Fix(0)
    return transform, Fix.CONVERTED


def _samples(mode: str) -> Image.Image:
    """Colours from all over the cube, or every grey."""
    if mode == "L":
        return Image.fromarray(np.arange(256, dtype=np.uint8)[None])
    steps = np.arange(0, 256, 51, dtype=np.uint8)
    colour_DDC = np.stack(np.meshgrid(steps, steps, steps), -1).reshape(1, -1, 3)
    return Image.fromarray(colour_DDC)
