"""The picture of samples: its format by its suffix, and its name where none is given."""

import hashlib
import io
import json
import re
from pathlib import Path
from typing import Any

from PIL import Image

from nvg.errors import InputError

# Suffix -> the format as Pillow names it, and how it is saved.
FORMATS: dict[str, tuple[str, dict[str, Any]]] = {
    ".png": ("png", {}),
    ".jpg": ("jpeg", {"quality": 95}),
    ".jpeg": ("jpeg", {"quality": 95}),
    ".webp": ("webp", {"lossless": True}),
    ".tif": ("tiff", {"compression": "tiff_lzw"}),
    ".tiff": ("tiff", {"compression": "tiff_lzw"}),
    ".bmp": ("bmp", {}),
}
MOST_NAMED = 4  # classes in the name of a file


def require_picture(path: Path) -> None:
    """InputError for a suffix that is no format of a picture."""
    if path.suffix.lower() not in FORMATS:
        raise InputError(f"{path} names no format of a picture: let it end in {', '.join(FORMATS)}")


def picture_bytes(image: Image.Image, path: Path) -> bytes:
    """An image in the format that the suffix of `path` names."""
    kind, how = FORMATS[path.suffix.lower()]
    buffer = io.BytesIO()
    image.save(buffer, kind, **how)
    return buffer.getvalue()


def default_picture(
    run: Path, names: list[str], wanted: bool, number: int, seed: int, others: dict[str, Any]
) -> Path:
    """`samples/CLASSES-nN-seedS.png` of a run: one command, one name.

    All else that the images depend on, `others`, is a short digest in it.
    """
    said = "all" if not wanted else "-".join(re.sub(r"[^\w]+", "_", name)[:24] for name in names)
    if wanted and len(names) > MOST_NAMED:
        said = f"{len(names)}-classes-{_digest(names)}"
    digest = f"-{_digest(others)}" if others else ""
    return run / "samples" / f"{said}-n{number}-seed{seed}{digest}.png"


def _digest(value: Any) -> str:
    text = json.dumps(value, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:8]
