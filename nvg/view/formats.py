"""Formats of pictures and charts, by the suffix of the file that is written."""

import io
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from PIL import Image

from nvg.errors import InputError
from nvg.files import require_file_place

# Suffix -> the format as Pillow names it, and how it is saved.
FORMATS: dict[str, tuple[str, dict[str, Any]]] = {
    ".png": ("png", {}),
    ".jpg": ("jpeg", {"quality": 95}),
    ".jpeg": ("jpeg", {"quality": 95}),
    ".webp": ("webp", {"lossless": True}),
    ".tif": ("tiff", {"compression": "tiff_lzw"}),
    ".tiff": ("tiff", {"compression": "tiff_lzw"}),
    ".bmp": ("bmp", {}),
    ".pdf": ("pdf", {"quality": 95}),
}
CHART_FORMATS = (".png", ".pdf", ".svg")
"""Of what matplotlib draws, the last two as lines."""
PAGE_FORMATS = (".html", ".htm")


def require_picture(path: Path, formats: Iterable[str] = FORMATS) -> None:
    """InputError for a suffix that is no format of a picture."""
    if path.suffix.lower() not in formats:
        raise InputError(
            f"{path} names no format that is written: let it end in {', '.join(formats)}"
        )


def require_drawing(path: Path, formats: Iterable[str] = FORMATS) -> None:
    """The same, and InputError for a place where no file can be written; call it before work."""
    require_file_place(path)
    require_picture(path, formats)


def picture_bytes(image: Image.Image, path: Path) -> bytes:
    """An image in the format that the suffix of `path` names."""
    kind, how = FORMATS[path.suffix.lower()]
    buffer = io.BytesIO()
    image.save(buffer, kind, **how)
    return buffer.getvalue()
