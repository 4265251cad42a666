"""Orientation, colour profiles and transparency: pictures as a viewer shows them."""

import ctypes
import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageCms

from nvg.config import ConfigError
from pipeline.images.decode import ImageError, decode
from pipeline.images.pixels import Fix, Reading
from pipeline.recipe import DataConfig, Exif, Icc, SourceKind
from tests.pipeline.images.makers import image_bytes, picture

FORMER = Reading.of(DataConfig(source=SourceKind.FOLDER, exif=None, icc=None, background=None))
SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


MOST_BYTES_A_PIXEL = 16


def exchanged() -> bytes:
    """sRGB's profile with the places of its red and green primaries exchanged."""
    return SRGB.replace(b"rXYZ", b"????", 1).replace(b"gXYZ", b"rXYZ", 1).replace(b"????", b"gXYZ")


def oriented(image: Image.Image, orientation: int, kind: str = "png", **options: Any) -> bytes:
    """A file whose EXIF says how it is to be turned."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    return image_bytes(image, kind, exif=exif, **options)


def rgb(data: bytes, reading: Reading = Reading()) -> np.ndarray[Any, Any]:  # noqa: B008
    """The decoded pixels [D, D, 3] as int."""
    return np.asarray(decode(data, reading)[0]).astype(int)


# Orientation -> where the first row and the first column of the file are shown (EXIF 2.3, 4.6.4).
SHOWN = {
    1: lambda file: file,
    2: lambda file: file[:, ::-1],
    3: lambda file: file[::-1, ::-1],
    4: lambda file: file[::-1],
    5: lambda file: file.transpose(1, 0, 2),
    6: lambda file: file[::-1].transpose(1, 0, 2),
    7: lambda file: file[::-1, ::-1].transpose(1, 0, 2),
    8: lambda file: file[:, ::-1].transpose(1, 0, 2),
}


@pytest.mark.parametrize("orientation", SHOWN)
def test_a_picture_is_turned_as_its_exif_says(orientation: int) -> None:
    """A picture wider than high; `ignore` leaves it as it is stored, and a count tells."""
    image = picture(24).crop((0, 0, 24, 10))
    data, stored = oriented(image, orientation), np.asarray(image)
    upright, done = decode(data)
    assert np.array_equal(np.asarray(upright), SHOWN[orientation](stored))
    assert done == (Fix(0) if orientation == 1 else Fix.TURNED)
    assert np.array_equal(rgb(data, Reading(exif=Exif.IGNORE)), stored)


def test_an_orientation_that_does_not_exist_is_ignored() -> None:
    """9 is none."""
    data = oriented(picture(), 9)
    assert np.array_equal(rgb(data), np.asarray(picture()))


@pytest.mark.parametrize("kind", ["jpeg", "webp", "avif", "tiff"])
def test_other_formats_are_turned_too(kind: str) -> None:
    """A red left half is on top after a turn by 90 degrees, once and not twice."""
    image = Image.new("RGB", (40, 20), "blue")
    image.paste("red", (0, 0, 20, 20))
    found = rgb(oriented(image, 6, kind))
    assert found.shape == (40, 20, 3)
    assert found[5, 10, 0] > 200 > 50 > found[35, 10, 0]


def test_colours_of_a_profile_become_srgb() -> None:
    """Red and green change places where the profile's primaries do."""
    data = image_bytes(picture(), "png", icc_profile=exchanged())
    image, done = decode(data)
    expected = np.asarray(picture())[..., [1, 0, 2]].astype(int)
    assert np.abs(np.asarray(image) - expected).max() <= 2
    assert done == Fix.CONVERTED
    assert np.array_equal(rgb(data, Reading(icc=Icc.IGNORE)), np.asarray(picture()))


def test_srgb_is_left_alone() -> None:
    """Most profiles are sRGB's own: not a level changes."""
    image, done = decode(image_bytes(picture(), "png", icc_profile=SRGB))
    assert np.array_equal(np.asarray(image), np.asarray(picture()))
    assert done == Fix(0)


@pytest.mark.parametrize("profile", [b"no profile", SRGB[:300], b"\0" * 400])
def test_a_broken_profile_is_ignored(profile: bytes) -> None:
    """And counted."""
    image, done = decode(image_bytes(picture(), "png", icc_profile=profile))
    assert np.array_equal(np.asarray(image), np.asarray(picture()))
    assert done == Fix.UNSOUND


def test_a_profile_of_other_channels_is_ignored() -> None:
    """A grey picture has no use for one of RGB."""
    grey = picture().convert("L")
    image, done = decode(image_bytes(grey, "png", icc_profile=SRGB))
    assert np.array_equal(np.asarray(image)[..., 1], np.asarray(grey))
    assert done == Fix.UNSOUND


def test_a_profile_holds_under_transparency() -> None:
    """The colours are converted, the white below is not; the turn comes with both."""
    image = Image.new("RGBA", (4, 2), (200, 30, 60, 255))
    image.paste((0, 0, 0, 0), (2, 0, 4, 2))
    found, done = decode(oriented(image, 3, icc_profile=exchanged()))
    row = np.asarray(found)[0].astype(int)
    assert row[:2].tolist() == [[255] * 3] * 2
    assert np.abs(row[2:] - [30, 200, 60]).max() <= 2
    assert done == Fix.CONVERTED | Fix.LAID | Fix.TURNED


def test_the_background_is_the_recipes() -> None:
    """Any colour; opaque alpha needs none, and is not counted."""
    clear = image_bytes(Image.new("RGBA", (2, 2), (9, 9, 9, 0)), "png")
    assert rgb(clear, Reading(background="#102030"))[0, 0].tolist() == [16, 32, 48]
    opaque = image_bytes(picture().convert("RGBA"), "png")
    image, done = decode(opaque)
    assert np.array_equal(np.asarray(image), np.asarray(picture()))
    assert done == Fix(0)
    with pytest.raises(ConfigError, match=r"data\.background must be a colour .* 'grene'"):
        DataConfig(source=SourceKind.FOLDER, background="grene")


def test_former_stores_read_as_they_did() -> None:
    """As Pillow stores and converts: no turn, no profile, no alpha, no levels, no newer formats."""
    assert FORMER.is_former
    image = picture().convert("RGBA")
    image.putalpha(77)
    data = oriented(image, 6, icc_profile=exchanged())
    plain = Image.open(io.BytesIO(data)).convert("RGB")
    found, done = decode(data, FORMER)
    assert np.array_equal(np.asarray(found), np.asarray(plain))
    assert done == Fix(0)
    twelve = np.linspace(0, 4095, 256).astype(np.uint16).reshape(16, 16)
    assert rgb(image_bytes(Image.fromarray(twelve), "tiff"), FORMER).max() == 15
    with pytest.raises(ImageError, match="not an image"):
        decode(image_bytes(picture(), "avif"), FORMER)


@pytest.mark.thorough
@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="needs Linux's /proc")
@pytest.mark.parametrize(
    ("mode", "kind"),
    [
        ("I;16", "png"),
        ("F", "tiff"),
        ("I", "tiff"),
        ("RGBA", "png"),
        ("P", "png"),
        ("CMYK", "jpeg"),
    ],
)
def test_a_picture_takes_a_bounded_memory(mode: str, kind: str) -> None:
    """At most MOST_BYTES_A_PIXEL, decoder and all, for the picture and every step to RGB."""
    side = 2500
    image = Image.new(mode, (side, side), 1)
    if mode == "P":
        image.info["transparency"] = 0
    data = image_bytes(image, kind)
    del image
    rgb_image(image_bytes(picture(), kind))  # loads what is not the picture's
    ctypes.CDLL(None).malloc_trim(0)  # memory that is free, and would be used unseen
    Path("/proc/self/clear_refs").write_text("5")  # the peak counts from here
    before = peak()
    rgb_image(data)
    assert (peak() - before) / side**2 < MOST_BYTES_A_PIXEL


def rgb_image(data: bytes) -> tuple[int, int]:
    """Decode as a pass does; the size."""
    return decode(data, Reading())[0].size


def peak() -> int:
    """The most bytes that the process has held."""
    lines = Path("/proc/self/status").read_text().splitlines()
    (line,) = (line for line in lines if line.startswith("VmHWM"))
    return int(line.split()[1]) * 1024
