"""Pictures of every kind become the same pixels, and come back as the kind that is asked for."""

import numpy as np
import pytest
import torch
from PIL import Image

from nvg.tokenizer.pictures import as_kind, to_pixels

SIZE = 5
PIXELS = torch.from_numpy(
    np.random.default_rng(0).integers(0, 256, (2, 3, SIZE, SIZE), dtype=np.uint8)
)


def test_every_kind_is_read_and_written() -> None:
    """One or several, channels first or last."""
    pictures, last = as_kind(PIXELS, "pil"), as_kind(PIXELS, "array")
    assert [picture.size for picture in pictures] == [(SIZE, SIZE)] * 2
    assert np.array_equal(np.asarray(pictures[1]), last[1])
    assert as_kind(PIXELS, "tensor") is PIXELS
    for several in (pictures, last, list(last), PIXELS, PIXELS.numpy(), [*PIXELS], tuple(pictures)):
        assert torch.equal(to_pixels(several, SIZE), PIXELS)
    for one in (pictures[0], last[0], PIXELS[0]):
        assert torch.equal(to_pixels(one, SIZE), PIXELS[:1])


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (PIXELS.float(), r"uint8, 0..255, not torch.float32"),
        (PIXELS[..., 1:], r"the shape \(2, 3, 5, 4\)"),
        (PIXELS[:, :1], "3 channels of 5x5"),
        (Image.new("RGB", (7, SIZE)), r"\(5, 7, 3\), this tokenizer takes 3 channels of 5x5"),
        ([], "no picture"),
        (PIXELS[0, 0], r"\(5, 5\)"),
    ],
)
def test_what_is_no_picture_of_that_size_is_refused(given: object, words: str) -> None:
    """Named by its shape, and never resized behind the user's back."""
    with pytest.raises(ValueError, match=words):
        to_pixels(given, SIZE)


def test_grey_pictures_have_three_equal_channels() -> None:
    """As the tokenizing pass reads them."""
    grey = Image.fromarray(np.arange(25, dtype=np.uint8).reshape(SIZE, SIZE))
    (pixels,) = to_pixels(grey, SIZE)
    assert torch.equal(
        pixels, torch.arange(25, dtype=torch.uint8).reshape(SIZE, SIZE).expand(3, -1, -1)
    )


def test_an_unknown_kind_is_refused() -> None:
    """By its name."""
    with pytest.raises(ValueError, match="jpeg"):
        as_kind(PIXELS, "jpeg")
