"""Decoding and cropping: every mode becomes the right RGB, every bad file an error row."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from pipeline.images.decode import ImageError, decode, require_pixels
from tests.pipeline.images.makers import center_crop, exif_jpeg, image_bytes, picture

light = settings(deadline=None, max_examples=60)


def rgb(data: bytes) -> np.ndarray[Any, Any]:
    """The decoded pixels [D, D, 3] as int."""
    image, _ = decode(data)
    assert image.mode == "RGB"
    return np.asarray(image).astype(int)


@pytest.mark.parametrize(
    "exif",
    [
        b"Exif\0\0",
        b"Exif\0\0garbage that is no TIFF header",
        b"Exif\0\0II*\0\xff\xff\xff\x7f",
        b"Exif\0\0MM\0*\0\0\0\x08\xff\xff" + b"\xff" * 40,
        b"Exif\0\0II*\0\x08\0\0\0\x01\0\x1a\x01\x05\0\x01\0\0\0\xff\xff\xff\xff",
    ],
)
def test_broken_exif_is_no_reason_to_refuse(exif: bytes) -> None:
    """Pixels are what counts: they are those of the same file without it."""
    assert np.array_equal(rgb(exif_jpeg(exif)), rgb(image_bytes(picture(), "jpeg", quality=95)))


@light
@given(st.binary(max_size=400))
def test_random_bytes_are_refused(data: bytes) -> None:
    """What is no image is an ImageError, whatever it is."""
    with pytest.raises(ImageError):
        decode(data)


def guided_diffusion_crop(image: Image.Image, size: int) -> np.ndarray[Any, Any]:
    """center_crop_arr of guided-diffusion (ADM), by which ImageNet FIDs are measured."""
    while min(*image.size) >= 2 * size:
        image = image.resize([x // 2 for x in image.size], resample=Image.Resampling.BOX)
    scale = size / min(*image.size)
    image = image.resize([round(x * scale) for x in image.size], resample=Image.Resampling.BICUBIC)
    pixels = np.array(image)
    top, left = (pixels.shape[0] - size) // 2, (pixels.shape[1] - size) // 2
    return pixels[top : top + size, left : left + size]


@light
@given(
    width=st.integers(1, 90),
    height=st.integers(1, 90),
    size=st.sampled_from([4, 8, 16, 32]),
    seed=st.integers(0, 99),
)
def test_the_crop_is_that_of_adm(width: int, height: int, size: int, seed: int) -> None:
    """Pixel for pixel, odd sizes, long strips and images to be enlarged included."""
    noise = np.random.default_rng(seed).integers(0, 256, size=(height, width, 3), dtype=np.uint8)
    image = Image.fromarray(noise)
    found = center_crop(image, size)
    assert (found.dtype, found.shape) == (np.uint8, (3, size, size))
    assert np.array_equal(found.transpose(1, 2, 0), guided_diffusion_crop(image, size))


def test_an_image_of_the_right_size_is_itself() -> None:
    """Nothing is resampled where nothing need be."""
    image = picture(32)
    assert np.array_equal(center_crop(image, 32).transpose(1, 2, 0), np.asarray(image))


def test_the_middle_of_a_wide_image_is_taken() -> None:
    """A 3:1 image of the right height is cut to its middle third."""
    levels = np.random.default_rng(0).integers(0, 256, size=(8, 24, 3), dtype=np.uint8)
    assert np.array_equal(
        center_crop(Image.fromarray(levels), 8), levels[:, 8:16].transpose(2, 0, 1)
    )


def test_the_size_is_read_from_the_header() -> None:
    """Of a picture cut short too: nothing is decoded."""
    data = image_bytes(picture(8), "PNG")
    require_pixels(data, 64)
    require_pixels(data[:-20], 64)
    with pytest.raises(ImageError, match="too many pixels: 8x8"):
        require_pixels(data[:-20], 63)
    with pytest.raises(ImageError, match="not an image"):
        require_pixels(b"text", 64)
