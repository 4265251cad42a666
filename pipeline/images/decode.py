"""Decode and crop: bytes of an image -> pixels of its views.

Pillow decodes: torchvision's and TurboJPEG's decoders are no faster (docs/PERFORMANCE.md), and the
reference statistics of the field come from its pixels. JPEG's draft mode is faster for small images
only, and changes pixels.

Legend: X view, D row or column of pixels or of the grid, C channel.
"""

import io
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
from PIL import Image, UnidentifiedImageError

from nvg.errors import InputError, printable
from nvg.tokenizer.adm import resize
from pipeline.images.crops import Crops, Window
from pipeline.images.mend import without_metadata
from pipeline.images.pixels import Fix, Reading
from pipeline.images.threads import MOST_SECONDS, quiet

FORMER_FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF")
FORMATS = (*FORMER_FORMATS, "AVIF", "JPEG2000")  # of these, none runs a program
LARGE_PIXELS = 1 << 26  # more are decoded in a process of their own: of these one at a time
MOST_PIXELS = 178_956_970  # more is refused as a decompression bomb (Pillow's own error limit)
SPEAKING = (OSError, SyntaxError, NotImplementedError, RuntimeError, zlib.error)
"""What decoders raise with words for people; others speak of Python's values."""

TOO_LONG = f"takes longer than {MOST_SECONDS:.0f} s to decode"
TOO_MUCH_MEMORY = "takes too much memory to decode"

Result = TypeVar("Result")
Pixels = np.ndarray[Any, np.dtype[np.uint8]]
DEFAULT = Reading()


class ImageError(InputError):
    """An unusable image; the message is the reason in the index."""

    size: tuple[int, int] | None = None
    """Width and height of an image that decodes but cannot be cut."""


class LargeImageError(Exception):
    """An image of more pixels than a call may decode, which is not wrong in itself."""


@dataclass(frozen=True)
class Views:
    """The stored views of one image."""

    size: tuple[int, int]
    """Width and height of the image itself, upright."""
    windows: list[Window]
    """Where each view lies in it."""
    pixels: Pixels
    """uint8 [X, 3, D, D]."""
    done: Fix
    """What was done to the image beyond reading it."""


def decode_views(
    data: bytes,
    crops: Crops,
    key: str = "",
    reading: Reading = DEFAULT,
    large: int = MOST_PIXELS,
) -> Views:
    """Pixels of the views of an image, from file bytes. ImageError when it cannot be used.

    LargeImageError, before it is decoded, for one of more than `large` pixels.
    """
    image, done = decode(data, reading, large)
    windows = crops.windows(*image.size, key)
    return Views(image.size, windows, cut(image, windows, crops.size), done)


def decode(
    data: bytes, reading: Reading = DEFAULT, large: int = MOST_PIXELS
) -> tuple[Image.Image, Fix]:
    """An upright RGB image from file bytes of any mode, and what made it so."""
    formats = FORMER_FORMATS if reading.is_former else FORMATS
    return open_picture(data, reading.rgb, formats, large)


def open_picture(
    data: bytes,
    use: Callable[[Image.Image], Result],
    formats: tuple[str, ...] = FORMATS,
    large: int = MOST_PIXELS,
) -> Result:
    """Open a picture from file bytes and apply `use`. ImageError when either fails.

    A PNG that cannot be opened is opened once more without its metadata.
    """

    def loaded(image: Image.Image) -> Result:
        image.load()
        return use(image)

    try:
        return _opened(data, loaded, formats, large)
    except ImageError:
        if formats == FORMER_FORMATS or not (mended := without_metadata(data)):
            raise
    pixels, profile = mended
    return _opened(pixels, loaded, formats, large, profile)


def _opened(
    data: bytes,
    use: Callable[[Image.Image], Result],
    formats: tuple[str, ...],
    large: int,
    profile: bytes | None = None,
) -> Result:
    """Apply `use` to a picture of which the header is read, with the profile that it has lost."""
    if not data:
        raise ImageError("empty file")
    try:
        with quiet():  # odd metadata is no reason to refuse an image
            image = Image.open(io.BytesIO(data), formats=formats)
            if image.width * image.height > MOST_PIXELS:
                raise ImageError(f"too many pixels: {image.width}x{image.height}")
            if image.width * image.height > large:
                raise LargeImageError
            if profile is not None:
                image.info["icc_profile"] = profile
            return use(image)
    except UnidentifiedImageError:
        raise ImageError("not an image") from None
    except Image.DecompressionBombError:
        raise ImageError("too many pixels") from None
    except (ImageError, LargeImageError):
        raise
    except MemoryError:
        raise ImageError(TOO_MUCH_MEMORY) from None
    except Exception as error:  # whatever decoders raise on damaged data
        raise ImageError(f"damaged: {_in_words(error)}") from error


def _in_words(error: Exception) -> str:
    """What is wrong with an image, in one line of printable text."""
    lines = str(error).strip().splitlines() if isinstance(error, SPEAKING) else []
    return printable(lines[0]) if lines else "its parts contradict each other"


def require_pixels(data: bytes, most: int) -> None:
    """ImageError for a picture whose header says more than `most` pixels, or that has none."""

    def refuse(image: Image.Image) -> None:
        if image.width * image.height > most:
            raise ImageError(f"too many pixels: {image.width}x{image.height}")

    _opened(data, refuse, FORMATS, MOST_PIXELS)


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


def crop_window(resized_DDC: Pixels, window: Window, size: int) -> Pixels:
    """A window of a resized image [D, D', 3] as pixels [3, size, size]."""
    left, top = window.left, window.top
    square = resized_DDC[top : top + size, left : left + size].transpose(2, 0, 1)
    return square[..., ::-1] if window.flip else square
