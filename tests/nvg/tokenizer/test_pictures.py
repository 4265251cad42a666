"""Pictures of every kind become the same pixels, and come back as the kind that is asked for."""

import io

import numpy as np
import pytest
import torch
from PIL import ExifTags, Image

from nvg.tokenizer.pictures import as_kind, to_pixels
from pipeline.images.crops import Crops
from pipeline.images.decode import decode_views

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
        (PIXELS[:, :1], r"the shape \(2, 1, 5, 5\): 3 channels"),
        (PIXELS[..., :0], r"the shape \(2, 3, 5, 0\)"),
        ([], "no picture"),
        (PIXELS[0, 0], r"\(5, 5\)"),
    ],
)
def test_what_is_no_picture_is_refused(given: object, words: str) -> None:
    """Named by its shape."""
    with pytest.raises(ValueError, match=words):
        to_pixels(given, SIZE)


@pytest.mark.parametrize("shape", [(37, 12), (12, 37), (64, 65), (4, 3), (5, 7)])
def test_other_sizes_are_cut_as_the_pass_does(shape: tuple[int, int]) -> None:
    """To the pixel, whatever kind they come as; several of different sizes at once."""
    image = np.random.default_rng(2).integers(0, 256, (*shape, 3), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(image).save(file, "png")
    wanted = torch.from_numpy(decode_views(file.getvalue(), Crops(SIZE)).pixels)
    for given in (Image.fromarray(image), image, torch.from_numpy(image).permute(2, 0, 1)):
        assert torch.equal(to_pixels(given, SIZE), wanted)
    assert torch.equal(to_pixels([image, PIXELS[0]], SIZE), torch.cat([wanted, PIXELS[:1]]))


def test_pillows_images_are_read_as_a_viewer_shows_them() -> None:
    """Turned by their orientation; white under what is transparent, as in the pass."""
    values = np.random.default_rng(3).integers(0, 256, (SIZE, SIZE, 4), dtype=np.uint8)
    image, exif = Image.fromarray(values), Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    file = io.BytesIO()
    image.save(file, "png", exif=exif)
    wanted = torch.from_numpy(decode_views(file.getvalue(), Crops(SIZE)).pixels)
    assert torch.equal(to_pixels(Image.open(file), SIZE), wanted)
    assert not torch.equal(to_pixels(image.convert("RGB"), SIZE), wanted)


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
