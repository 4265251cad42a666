"""Pictures, and the bytes of good and bad image files."""

import io
import struct
import zlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from pipeline.images.crops import Crops
from pipeline.images.decode import cut, decode
from pipeline.recipe import AutoencoderSection, Recipe, TokenizeConfig, View
from tests.makers import smooth_image, tiny_recipe, write_image_folder
from tests.nvg.tokenizer.makers import tiny_model


def image_bytes(image: Image.Image, kind: str, **options: Any) -> bytes:
    """The bytes of an image file."""
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def picture(size: int = 24, seed: int = 0) -> Image.Image:
    """A smooth RGB picture."""
    return smooth_image(np.random.default_rng(seed), size)


def center_crop(image: Image.Image, size: int) -> Any:
    """The centre view of a picture, uint8 [3, size, size]."""
    return cut(image, Crops(size).windows(*image.size, ""), size)[0]


def png_header(width: int, height: int) -> bytes:
    """A PNG that claims a size and holds a few bytes."""

    def part(name: bytes, data: bytes) -> bytes:
        crc = struct.pack(">I", zlib.crc32(name + data))
        return struct.pack(">I", len(data)) + name + data + crc

    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + part(b"IHDR", head) + part(b"IDAT", zlib.compress(b"\0" * 99))


def exif_jpeg(exif: bytes) -> bytes:
    """A JPEG with these bytes as its EXIF segment."""
    data = image_bytes(picture(), "jpeg", quality=95)
    return data[:2] + b"\xff\xe1" + struct.pack(">H", len(exif) + 2) + exif + data[2:]


def decoded(path: Path) -> Image.Image:
    """The picture in a file, in RGB."""
    return decode(path.read_bytes())[0]


def photos_with_maps(folder: Path) -> Recipe:
    """Six images of 16x16 whose maps have a left and a right region, and the flip as a view."""
    keys = write_image_folder(folder / "images", ["ant", "bee"], 3, 16)
    for key in keys:
        path = (folder / "maps" / key).with_suffix(".png")
        path.parent.mkdir(parents=True, exist_ok=True)
        halves = np.repeat(np.arange(2, dtype=np.uint8), 8)[None].repeat(16, 0)
        Image.fromarray(halves).save(path)
    model = replace(tiny_model(), builder="segments")
    plain = tiny_recipe(folder / "images")
    return replace(
        plain,
        data=replace(plain.data, segments=str(folder / "maps")),
        autoencoder=AutoencoderSection(model=model, train=plain.autoencoder.train),
        tokenize=TokenizeConfig(chunk_rows=4, batch_size=3, views=(View.CENTER, View.FLIP)),
    )
