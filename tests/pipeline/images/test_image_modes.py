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
    image, _ = decode(data)
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


def on_white(colour_DDC: Any, alpha_DD: Any) -> np.ndarray[Any, Any]:
    """Colours laid on white, in exact numbers."""
    share = np.asarray(alpha_DD, float)[..., None] / 255
    mixed: np.ndarray[Any, Any] = np.asarray(colour_DDC, float) * share + 255 * (1 - share)
    return mixed


@pytest.mark.parametrize("transparency", [1, b"\x00\x80\xff\x40"])
def test_a_transparent_palette_is_laid_on_white(transparency: int | bytes) -> None:
    """With one clear colour, or alpha for each."""
    alpha = [255, 0, 255, 255] if transparency == 1 else [0, 128, 255, 64]
    data = image_bytes(palette_image(), "png", transparency=transparency)
    expected = on_white(COLOURS[INDICES], np.array(alpha)[INDICES])
    assert np.abs(rgb(data) - expected).max() <= 1


def test_rgba_is_laid_on_white() -> None:
    """What hides under a clear pixel does not show."""
    levels = np.asarray(picture())
    image = with_alpha(levels, "RGBA")
    expected = on_white(levels, image.getchannel("A"))
    assert np.abs(rgb(image_bytes(image, "png")) - expected).max() <= 1


def test_grey_with_alpha_is_laid_on_white() -> None:
    """LA is grey first, then alpha."""
    image = with_alpha(GREY, "LA")
    expected = on_white(np.repeat(GREY[:, :, None], 3, axis=2), image.getchannel("A"))
    assert np.abs(rgb(image_bytes(image, "png")) - expected).max() <= 1


@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_a_clear_colour_is_laid_on_white(mode: str) -> None:
    """One colour of a picture without palette may be clear."""
    image = Image.new(mode, (4, 2), "black")
    image.paste(Image.new(mode, (2, 2), "grey"))
    data = image_bytes(image, "png", transparency=(0, 0, 0) if mode == "RGB" else 0)
    assert rgb(data)[0].tolist() == [[128] * 3] * 2 + [[255] * 3] * 2


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


@pytest.mark.parametrize(
    ("kind", "top"),
    [("png", 65535), ("png", 1000), ("png", 200), ("tiff", 65535), ("tiff", 5000)],
)
def test_sixteen_bit_grey_is_scaled_to_eight(kind: str, top: int) -> None:
    """Level v of 65535 is v / 257 of 255, however dark the picture is as a whole."""
    levels = np.linspace(0, top, 256).astype(np.uint16).reshape(16, 16)
    found = rgb(image_bytes(Image.fromarray(levels), kind))
    assert np.abs(found - levels[:, :, None] / 257).max() <= 1
    assert found.max() == (255 if top == 65535 else top // 257)


@pytest.mark.parametrize("order", ["<u2", ">u2"])
def test_a_png_of_sixteen_bits_stays_so_when_all_levels_are_low(order: str) -> None:
    """A file of mode I;16, of either byte order, is divided by 257 though no level passes 255."""
    levels = np.arange(256).astype(order).reshape(16, 16)
    data = image_bytes(Image.fromarray(levels), "png")
    assert Image.open(io.BytesIO(data)).mode.startswith("I;16")
    assert np.abs(rgb(data) - levels[:, :, None].astype(float) / 257).max() < 1


@pytest.mark.parametrize(
    ("dtype", "top", "white", "tags"),
    [
        (np.uint16, 4095, 4095, {}),
        (np.uint16, 900, 4095, {}),
        (np.uint16, 1000, 1023, {281: 1023}),
        (np.uint16, 5000, 16383, {281: 16383}),
        (np.int32, 4095, 4095, {}),
        (np.float32, 1, 1, {}),
        (np.float32, 0.25, 1, {}),
        (np.float32, 255, 255, {}),
    ],
)
def test_a_tiff_of_other_levels_is_stretched(
    dtype: type, top: float, white: float, tags: dict[int, int]
) -> None:
    """Twelve bits in a container of 16, what a tag tells, and floats of 0..1."""
    levels: Any = np.linspace(0, top, 256).astype(dtype).reshape(16, 16)
    data = image_bytes(Image.fromarray(levels), "tiff", tiffinfo=tags)
    expected = levels[:, :, None].astype(float) * 255 / white
    assert np.abs(rgb(data) - expected).max() <= 1


def test_no_number_in_a_float_tiff_is_black() -> None:
    """NaN, as masks and maps of the earth have it."""
    levels = np.full((4, 4), 0.5, np.float32)
    levels[0, 0] = np.nan
    found = rgb(image_bytes(Image.fromarray(levels), "tiff"))
    assert (found[0, 0].tolist(), found[1, 1].tolist()) == ([0] * 3, [127] * 3)
