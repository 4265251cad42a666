"""ADM's resize and centre crop."""

import numpy as np
import pytest
from PIL import Image

from nvg.tokenizer.adm import center_crop, halvings, resize, resized


def test_images_are_halved_while_they_are_twice_too_large() -> None:
    """Rounded down; then scaled, with the short side exact."""
    assert list(halvings(101, 67, 16)) == [(50, 33), (25, 16)]
    assert list(halvings(31, 31, 16)) == []
    assert resized(101, 67, 16) == (25, 16)
    assert resized(20, 10, 16) == (32, 16)


@pytest.mark.parametrize("size", [(40, 16), (16, 40), (16, 16), (97, 41), (8, 9)])
def test_the_middle_square_is_kept(size: tuple[int, int]) -> None:
    """Of an image whose halves left, right, above and below differ alike."""
    width, height = size
    image = np.zeros((height, width, 3), np.uint8)
    image[:, : width // 2, 0] = 255
    image[: height // 2, :, 1] = 255
    square = center_crop(Image.fromarray(image), 16)
    assert square.shape == (16, 16, 3)
    for channel, axis in ((0, 1), (1, 0)):
        bright = np.asarray((square[..., channel] > 127).any(1 - axis))
        assert 7 <= bright.sum() <= 9
        assert bright[:6].all()


def test_an_image_of_the_size_stays_as_it_is() -> None:
    """To the byte."""
    image = np.random.default_rng(0).integers(0, 256, (16, 16, 3), dtype=np.uint8)
    assert np.array_equal(resize(Image.fromarray(image), (16, 16)), image)
    assert np.array_equal(center_crop(Image.fromarray(image), 16), image)
