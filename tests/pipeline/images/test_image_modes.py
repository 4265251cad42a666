"""Decoding: an image file of any mode becomes the right RGB."""

import io
from typing import Any

import numpy as np
import pytest
from PIL import Image

from pipeline.images.decode import decode
from tests.pipeline.images.makers import image_bytes, picture


def rgb(data: bytes) -> np.ndarray[Any, Any]:
    """The decoded pixels [D, D, 3] as int."""
    image = decode(data)
    assert image.mode == "RGB"
    return np.asarray(image).astype(int)


COLOURS = np.array([[250, 10, 20], [0, 0, 0], [255, 255, 255], [17, 99, 200]], np.uint8)
INDICES = np.array([[0, 1, 2, 3], [3, 2, 1, 0]], np.uint8)
GREY = np.arange(256, dtype=np.uint8).reshape(16, 16)


def palette_image() -> Image.Image:
    """Two rows of four palette colours."""
    image = Image.fromarray(INDICES)
    image.putpalette(COLOURS.tobytes())
    return image


def with_alpha(levels: np.ndarray[Any, Any], mode: str) -> Image.Image:
    """Channels and an alpha that runs from clear to opaque."""
    alpha = np.linspace(0, 255, levels.shape[0] * levels.shape[1]).astype(np.uint8)
    stacked = np.dstack([levels, alpha.reshape(levels.shape[:2])])
    image = Image.fromarray(stacked)
    assert image.mode == mode
    return image


@pytest.mark.parametrize("kind", ["png", "bmp", "tiff", "webp"])
def test_rgb_files_are_their_pixels(kind: str) -> None:
    """A lossless file decodes to what was saved."""
    options = {"lossless": True} if kind == "webp" else {}
    assert np.array_equal(rgb(image_bytes(picture(), kind, **options)), np.asarray(picture()))


def test_grey_fills_all_three_channels() -> None:
    """Grey level g is (g, g, g)."""
    expected = np.repeat(GREY[:, :, None], 3, axis=2)
    assert np.array_equal(rgb(image_bytes(Image.fromarray(GREY), "png")), expected)


@pytest.mark.parametrize("kind", ["png", "gif"])
def test_palette_indices_are_their_colours(kind: str) -> None:
    """A palette file shows the palette's colours, not its indices."""
    assert np.array_equal(rgb(image_bytes(palette_image(), kind)), COLOURS[INDICES])


@pytest.mark.parametrize("transparency", [1, b"\x00\x80\xff\x40"])
def test_transparent_palette_entries_keep_their_colours(transparency: int | bytes) -> None:
    """With one clear colour, or alpha for each, alpha is dropped and the colours stay."""
    data = image_bytes(palette_image(), "png", transparency=transparency)
    assert np.array_equal(rgb(data), COLOURS[INDICES])


def test_rgba_drops_alpha() -> None:
    """Colours under any alpha stay as stored, as in ADM's convert("RGB")."""
    levels = np.asarray(picture())
    assert np.array_equal(rgb(image_bytes(with_alpha(levels, "RGBA"), "png")), levels)


def test_grey_with_alpha_drops_alpha() -> None:
    """LA is grey first, then alpha."""
    expected = np.repeat(GREY[:, :, None], 3, axis=2)
    assert np.array_equal(rgb(image_bytes(with_alpha(GREY, "LA"), "png")), expected)


def test_one_bit_is_black_and_white() -> None:
    """Bits are 0 and 255."""
    bits = GREY % 3 == 0
    expected = np.repeat(bits[:, :, None] * 255, 3, axis=2)
    assert np.array_equal(rgb(image_bytes(Image.fromarray(bits), "png")), expected)


@pytest.mark.parametrize(("kind", "tolerance"), [("tiff", 1), ("jpeg", 4)])
def test_cmyk_is_ink_on_white(kind: str, tolerance: int) -> None:
    """Each channel is (255 - ink)(255 - black) / 255, through the inverted JPEG flavour too."""
    inks = np.zeros((32, 32, 4), np.uint8)
    inks[:16] = (200, 30, 0, 40)
    inks[16:] = (0, 90, 255, 0)
    image = Image.frombytes("CMYK", (32, 32), inks.tobytes())
    options = {"quality": 100, "subsampling": 0} if kind == "jpeg" else {}
    wide = inks.astype(float)
    expected = (255 - wide[..., :3]) * (255 - wide[..., 3:]) / 255
    assert np.abs(rgb(image_bytes(image, kind, **options)) - expected).max() <= tolerance


@pytest.mark.parametrize("kind", ["png", "tiff"])
@pytest.mark.parametrize("top", [65535, 1000, 200])
def test_sixteen_bit_grey_is_scaled_to_eight(kind: str, top: int) -> None:
    """Level v of 65535 is v / 257 of 255, however dark the picture is as a whole."""
    levels = np.linspace(0, top, 256).astype(np.uint16).reshape(16, 16)
    found = rgb(image_bytes(Image.fromarray(levels), kind))
    assert np.abs(found - levels[:, :, None] / 257).max() <= 1
    assert found.max() == (255 if top == 65535 else top // 257)


@pytest.mark.parametrize("kind", ["png", "tiff"])
@pytest.mark.parametrize("order", ["<u2", ">u2"])
def test_sixteen_bits_stay_sixteen_when_all_levels_are_low(kind: str, order: str) -> None:
    """A file of mode I;16, of either byte order, is divided by 257 though no level passes 255."""
    levels = np.arange(256).astype(order).reshape(16, 16)
    data = image_bytes(Image.fromarray(levels), kind)
    assert Image.open(io.BytesIO(data)).mode.startswith("I;16")
    assert np.abs(rgb(data) - levels[:, :, None].astype(float) / 257).max() < 1
