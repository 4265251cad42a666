"""Metadata is no reason to refuse a PNG: its pixels are those of the plain file."""

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image, ImageCms

from pipeline.images.decode import ImageError, decode
from pipeline.images.mend import SIGNATURE, without_metadata
from pipeline.images.pixels import Fix, Reading
from tests.pipeline.images.makers import image_bytes, picture

ODD = {
    "long text": (b"zTXt", b"a\0\0" + zlib.compress(bytes(2_000_000))),
    "large profile": (b"iCCP", b"a\0\0" + zlib.compress(bytes(2_000_000))),
    "short gamma": (b"gAMA", b"\0"),
    "short colours": (b"cHRM", b"\0\1"),
    "no size": (b"pHYs", b""),
    "no intent": (b"sRGB", b""),
    "half an animation": (b"acTL", b"\0"),
}


def chunk(name: bytes, body: bytes, crc: int | None = None) -> bytes:
    """A chunk, maybe with a wrong checksum."""
    found = zlib.crc32(name + body) if crc is None else crc
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", found)


def with_chunk(data: bytes, extra: bytes) -> bytes:
    """A PNG with a chunk after its head."""
    head = len(SIGNATURE) + 25
    return data[:head] + extra + data[head:]


def same(one: bytes, other: bytes) -> bool:
    """Whether two files decode to the same pixels."""
    return np.array_equal(np.asarray(decode(one)[0]), np.asarray(decode(other)[0]))


def opens(data: bytes) -> bool:
    """Whether Pillow alone reads it."""
    try:
        Image.open(io.BytesIO(data)).load()
    except (OSError, ValueError, SyntaxError):
        return False
    return True


@pytest.mark.parametrize("name", ODD)
def test_pixels_do_not_depend_on_metadata(name: str) -> None:
    """Pillow alone refuses each of these."""
    plain = image_bytes(picture(), "png")
    odd = with_chunk(plain, chunk(*ODD[name]))
    assert not opens(odd)
    assert same(odd, plain)


def test_a_wrong_checksum_of_a_comment_is_no_damage() -> None:
    """One of the pixels is."""
    plain = image_bytes(picture(), "png")
    odd = with_chunk(plain, chunk(b"tEXt", b"a\0b", crc=7))
    assert not opens(odd)
    assert same(odd, plain)
    broken = bytearray(plain)
    broken[plain.index(b"IDAT") + 9] ^= 1
    with pytest.raises(ImageError, match="damaged"):
        decode(bytes(broken))


def test_what_decides_colours_stays() -> None:
    """Transparency, orientation and a sound colour profile, beside a gamma that is too short."""
    exif = Image.Exif()
    exif[0x0112] = 6
    wide = ImageCms.ImageCmsProfile(ImageCms.createProfile("XYZ")).tobytes()
    plain = image_bytes(picture().quantize(16), "png", transparency=3, exif=exif, icc_profile=wide)
    odd = with_chunk(plain, chunk(b"gAMA", b"\0"))
    one, done = decode(odd)
    other, wanted = decode(plain)
    assert np.array_equal(np.asarray(one), np.asarray(other))
    assert done == wanted
    assert wanted & (Fix.TURNED | Fix.LAID) == Fix.TURNED | Fix.LAID
    mended = without_metadata(odd)
    assert mended is not None
    assert mended[1] == wide


def test_only_a_png_with_metadata_is_mended() -> None:
    """Other formats, plain files and noise are as they are; a store from before stays as it was."""
    plain = image_bytes(picture(), "png")
    assert without_metadata(plain) is None
    assert without_metadata(image_bytes(picture(), "jpeg")) is None
    assert without_metadata(b"") is None
    assert without_metadata(SIGNATURE + b"\0" * 5) is None
    former = Reading(is_former=True)
    with pytest.raises(ImageError, match="damaged"):
        decode(with_chunk(plain, chunk(b"gAMA", b"\0")), former)


def test_a_broken_profile_is_left_out() -> None:
    """And a cut file stays damaged."""
    plain = image_bytes(picture(), "png")
    odd = with_chunk(plain, chunk(b"iCCP", b"a\0\0no zlib") + chunk(b"gAMA", b"\0"))
    mended = without_metadata(odd)
    assert mended is not None
    assert mended[1] is None
    assert same(odd, plain)
    with pytest.raises(ImageError, match="damaged"):
        decode(odd[: len(odd) // 2])
