"""Images: every format that is decoded, and some that must not be, changed as they are built.

Legend: X view, C channel, D row or column of pixels or of the grid.
"""

import io
import struct
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
from PIL import Image, ImageCms, PngImagePlugin

from pipeline.images.crops import Crops
from pipeline.images.decode import ImageError, decode_views
from pipeline.images.pixels import Reading
from pipeline.recipe import Exif, Icc, View
from tests.fuzz.cases import ERROR_ROW, READ, Outcome
from tests.fuzz.changes import Change, change_bytes
from tests.fuzz.judge import fault_of_text
from tests.fuzz.picture_parts import CHANGES

SIDE = 16
CROPS = Crops(SIDE, (View.CENTER, View.FLIP))
READINGS = (
    Reading(),
    Reading(Exif.IGNORE, Icc.IGNORE, None),
    Reading(Exif.IGNORE, Icc.IGNORE, None, is_former=True),
)
UNKNOWN = ("ppm", "ico", "tga", "eps", "pcx", "sgi", "dds")  # which are not decoded


class Pictures:
    """Mutated images through the decoder of the product."""

    name, seconds, memory = "images", 120.0, 3 << 30

    def prepare(self, folder: Path) -> None:
        """One file for each format and mode."""
        for name, data in templates().items():
            (folder / name).write_bytes(data)

    def run(self, templates: Path, work: Path, random: Random) -> Outcome:
        """One to three changes of a picture; it is decoded twice, and must come out alike."""
        names = sorted(path.name for path in templates.iterdir())
        name = random.choice(names)
        data, told = (templates / name).read_bytes(), []
        for _ in range(random.choice((1, 1, 1, 2, 3))):
            data, said = changed(data, name, templates, names, random)
            told.append(said)
        mutation, reading = f"{name}: {'; '.join(told)}", random.choice(READINGS)
        answers = [decoded(data, reading) for _ in range(2)]
        fault = next((fault for _, fault in answers if fault), "")
        if not fault and answers[0][0] != answers[1][0]:
            fault = "decodes to something else the second time"
        if not fault and is_unknown(name) and answers[0][0][:1] != b"!" and data[:4] == b"%!PS":
            fault = "PostScript was run"
        return Outcome(mutation, ERROR_ROW if answers[0][0][:1] == b"!" else READ, fault)


def is_unknown(name: str) -> bool:
    """Whether a template is of a format that is not decoded."""
    return name.rpartition(".")[2] in UNKNOWN


def decoded(data: bytes, reading: Reading) -> tuple[bytes, str]:
    """Pixels, or `!` and the reason of the error row; and what is wrong with the answer."""
    try:
        views = decode_views(data, CROPS, "key", reading)
    except ImageError as error:
        reason = str(error)
        fault = fault_of_text(reason) or ("several lines" if len(reason.splitlines()) > 1 else "")
        return b"!" + reason.encode(errors="replace"), fault
    wrong = views.pixels.shape != (2, 3, SIDE, SIDE) or views.pixels.dtype.name != "uint8"
    return views.pixels.tobytes(), f"pixels are {views.pixels.shape}" if wrong else ""


def changed(data: bytes, name: str, folder: Path, names: list[str], random: Random) -> Change:
    """As the format is built, or any bytes, or the end of another file."""
    change = CHANGES.get(name.rpartition(".")[2])
    if change and random.random() < 0.6:
        try:
            return change(data, random)
        except (LookupError, struct.error, ValueError):  # an earlier change has left no parts
            return change_bytes(data, random)
    if random.random() < 0.1 and data:
        other = random.choice(names)
        at, tail = random.randrange(len(data)), (folder / other).read_bytes()
        return data[:at] + tail[at:], f"from {at} on {other}"
    return change_bytes(data, random)


def templates() -> dict[str, bytes]:
    """Pictures of 24 x 20 in every format and mode that Pillow writes."""
    noise = np.random.default_rng(0).integers(0, 256, (20, 24, 3), np.uint8)
    rgb = Image.fromarray(noise)
    smooth = rgb.resize((6, 5)).resize((24, 20))
    modes = {mode.lower(): smooth.convert(mode) for mode in ("RGB", "L", "LA", "RGBA", "1", "CMYK")}
    modes["p"] = smooth.quantize(16)
    deep = Image.fromarray(noise[..., 0].astype(np.uint16) * 257)
    floats = Image.fromarray(noise[..., 0].astype(np.float32) / 255)
    exif, icc = orientation(), ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    found = {
        **_saved(modes, "png", ("rgb", "l", "la", "rgba", "1", "p")),
        **_saved(modes, "jpg", ("rgb", "l", "cmyk"), quality=90),
        **_saved(modes, "gif", ("p", "l")),
        **_saved(modes, "bmp", ("rgb", "l", "p", "1")),
        **_saved(modes, "webp", ("rgb", "rgba")),
        **_saved(modes, "tif", ("rgb", "l", "rgba", "1", "p", "cmyk")),
        **_saved(modes, "avif", ("rgb", "rgba")),
        **_saved(modes, "jp2", ("rgb", "l", "rgba")),
        "raw.j2k": _bytes(modes["rgb"], "jpeg2000", no_jp2=True),
        "lossless.webp": _bytes(modes["rgba"], "webp", lossless=True),
        "moving.webp": _bytes(rgb, "webp", save_all=True, append_images=[smooth, rgb]),
        "moving.gif": _bytes(modes["p"], "gif", save_all=True, append_images=[rgb, modes["l"]]),
        "clear.gif": _bytes(modes["p"], "gif", transparency=3),
        "clear.png": _bytes(modes["p"], "png", transparency=3),
        "deep.png": _bytes(deep, "png"),
        "told.png": _bytes(
            smooth, "png", pnginfo=_text(), icc_profile=icc, exif=exif, dpi=(72, 72)
        ),
        "turned.jpg": _bytes(smooth, "jpeg", exif=exif, icc_profile=icc),
        "progressive.jpg": _bytes(smooth, "jpeg", progressive=True, subsampling=2),
        "deep.tif": _bytes(deep, "tiff"),
        "float.tif": _bytes(floats, "tiff"),
        "pages.tif": _bytes(rgb, "tiff", save_all=True, append_images=[smooth, modes["l"]]),
        "turned.webp": _bytes(smooth, "webp", exif=exif, icc_profile=icc),
        "turned.avif": _bytes(smooth, "avif", exif=exif, icc_profile=icc),
    }
    for packing in ("tiff_lzw", "tiff_adobe_deflate", "jpeg", "packbits", "raw"):
        found[f"{packing}.tif"] = _bytes(smooth, "tiff", compression=packing)
    found["group4.tif"] = _bytes(modes["1"], "tiff", compression="group4")
    for kind in UNKNOWN:
        found[f"other.{kind}"] = _bytes(modes["rgba" if kind == "ico" else "rgb"], kind)
    return found


def orientation() -> Image.Exif:
    """EXIF that turns a picture."""
    exif = Image.Exif()
    exif[0x0112] = 6
    exif[0x010E] = "a picture"
    return exif


def _text() -> PngImagePlugin.PngInfo:
    info = PngImagePlugin.PngInfo()
    info.add_text("Comment", "a picture")
    info.add_text("Long", "word " * 100, zip=True)
    info.add_itxt("Title", "a picture", "en", "Title")
    info.add(b"gAMA", struct.pack(">I", 45455))
    info.add(b"cHRM", struct.pack(">8I", *range(30000, 30008)))
    return info


def _saved(modes: dict[str, Image.Image], suffix: str, names: Any, **how: Any) -> dict[str, bytes]:
    kind = {"jpg": "jpeg", "tif": "tiff", "jp2": "jpeg2000"}.get(suffix, suffix)
    return {f"{name}.{suffix}": _bytes(modes[name], kind, **how) for name in names}


def _bytes(image: Image.Image, kind: str, **how: Any) -> bytes:
    buffer = io.BytesIO()
    how["append_images"] = [each.copy() for each in how.get("append_images", [])]
    image.copy().save(buffer, kind, **how)  # a JPEG leaves its settings on the image
    return buffer.getvalue()
