"""The library `datasets` as a second reader of Parquet: what it does to a picture, and what not.

It turns a picture by its EXIF orientation and ends there: transparency and colour profile are left
to its user. Ours does these two as well, so the same two steps in plain Pillow make them equal.
"""

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageCms

from pipeline.images.decode import decode
from pipeline.sources import ParquetSource
from tests.pipeline.images.makers import image_bytes, picture
from tests.pipeline.sources.makers import write_parquet

SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB"))
EXCHANGED = (  # sRGB with its red and green primaries exchanged
    SRGB.tobytes()
    .replace(b"rXYZ", b"????", 1)
    .replace(b"gXYZ", b"rXYZ", 1)
    .replace(b"????", b"gXYZ")
)


def turned(orientation: int) -> Image.Exif:
    """EXIF with this orientation alone."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    return exif


def clear(mode: str) -> Image.Image:
    """A picture of 24x24 whose alpha runs from clear to opaque."""
    image = picture().convert(mode)
    image.putalpha(Image.linear_gradient("L").resize(image.size))
    return image


def files() -> dict[str, bytes]:
    """A picture for each thing that may have to be done to one."""
    palette = picture().quantize(7)
    return {
        "plain": image_bytes(picture(), "png"),
        **{
            f"turned {n}": image_bytes(picture().resize((24, 16)), "jpeg", exif=turned(n))
            for n in range(2, 9)
        },
        "ink": image_bytes(picture().convert("CMYK"), "jpeg"),
        "grey": image_bytes(picture().convert("L"), "png", exif=turned(6)),
        "alpha": image_bytes(clear("RGB"), "png"),
        "grey alpha": image_bytes(clear("L"), "png"),
        "clear colour": image_bytes(palette, "png", transparency=3),
        "clear palette": image_bytes(palette, "png", transparency=bytes(range(0, 252, 36))),
        "profile": image_bytes(picture(), "png", icc_profile=EXCHANGED),
        "all": image_bytes(clear("RGB"), "png", icc_profile=EXCHANGED, exif=turned(8)),
    }


def finished(image: Image.Image) -> Image.Image:
    """What `datasets` leaves to do: its profile to sRGB, then on white."""
    layered = image.convert("RGBA")
    colours = image.convert("RGB") if image.mode != "P" else layered.convert("RGB")
    if profile := image.info.get("icc_profile"):
        given = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        found = ImageCms.profileToProfile(colours, given, SRGB, outputMode="RGB")
        assert found is not None
        colours = found
    white = Image.new("RGB", image.size, "white")
    return Image.composite(colours, white, layered.getchannel("A"))


@pytest.fixture
def pictures(tmp_path: Path) -> dict[str, tuple[Any, Image.Image]]:
    """Of each row of a Parquet file: our pixels [D, D, 3], and the picture as `datasets` has it."""
    datasets = pytest.importorskip("datasets")
    file, data = tmp_path / "pictures.parquet", files()
    write_parquet(file, list(data.values()), [0] * len(data))
    source = ParquetSource(file)
    ours = source.read([row.key for row in source.rows])
    table = datasets.Dataset.from_parquet(str(file), cache_dir=str(tmp_path / "cache"))
    assert isinstance(table.features["image"], datasets.Image)
    found = {}
    for name, read, row in zip(data, ours, table, strict=True):
        assert isinstance(read, bytes)
        found[name] = (np.asarray(decode(read)[0]), row["image"])
    return found


@pytest.mark.filterwarnings("ignore")  # of its imports
def test_pixels_are_those_that_the_datasets_library_decodes(
    pictures: dict[str, tuple[Any, Image.Image]],
) -> None:
    """As they are without transparency and profile; with them after two steps of its user's."""
    left = {"alpha", "grey alpha", "clear colour", "clear palette", "profile", "all"}
    for name, (ours_DDC, theirs) in pictures.items():
        assert np.array_equal(ours_DDC, np.asarray(finished(theirs))), name
        is_equal = np.array_equal(ours_DDC, np.asarray(theirs.convert("RGB")))
        assert is_equal == (name not in left), name
    turned_sizes = {pictures[f"turned {n}"][0].shape[:2] for n in (5, 6, 7, 8)}
    assert turned_sizes == {(24, 16)}
