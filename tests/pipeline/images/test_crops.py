"""The views of an image: which windows they are, and that label maps follow them."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from pipeline.images.crops import Crops
from pipeline.images.decode import cut
from pipeline.images.label_maps import SegmentMaps
from pipeline.recipe import TokenizeConfig, View
from tests.pipeline.images.makers import center_crop, picture

light = settings(deadline=None, max_examples=80)
CENTRAL = (View.CENTER, View.FLIP)
SIDE = st.integers(1, 200)
EVERY = (*CENTRAL, View.TEN, View.RANDOM, View.RANDOM, View.RANDOM_FLIP)


def made(image: Image.Image, crops: Crops, key: str = "a.jpg") -> Any:
    """All views of an image, uint8 [V, D, D, 3]."""
    windows = crops.windows(*image.size, key)
    return cut(image, windows, crops.size).transpose(0, 2, 3, 1)


@pytest.mark.parametrize("views", [(View.CENTER,), (View.FLIP,), (View.FLIP, View.CENTER)])
def test_views_are_made_in_the_order_asked_for(views: tuple[View, ...]) -> None:
    """center is ADM's crop, flip its mirror image from left to right."""
    crop = center_crop(picture(), 8).transpose(1, 2, 0)
    wanted = {View.CENTER: crop, View.FLIP: np.fliplr(crop)}
    assert np.array_equal(made(picture(), Crops(8, views)), [wanted[view] for view in views])


def test_ten_crop_is_four_corners_and_the_middle_then_mirrored() -> None:
    """Of the image resized to 1.1 sizes, in torchvision's order."""
    image = picture(40).resize((60, 40))
    crops = Crops(20, (View.TEN,), resize=1.1)
    whole = np.asarray(image.resize((33, 22), Image.Resampling.BICUBIC))
    corners = [whole[top:][:20, left:][:, :20] for top in (0, 2) for left in (0, 13)]
    five = [*corners, whole[1:21, 6:26]]
    assert np.array_equal(made(image, crops), five + [np.fliplr(crop) for crop in five])
    assert crops.names()[0] == "top-left"
    assert crops.names()[9] == "middle-flip"


@light
@given(width=SIDE, height=SIDE, size=st.integers(1, 64), resize=st.floats(1, 4), key=st.text())
def test_every_window_lies_in_its_image(
    width: int, height: int, size: int, resize: float, key: str
) -> None:
    """Whatever the image's shape; and the names tell the windows apart."""
    crops = Crops(size, EVERY, resize)
    windows = crops.windows(width, height, key)
    assert len(windows) == len(set(crops.names())) == 15
    for window in windows:
        for start, side in zip((window.left, window.top), window.resized, strict=True):
            assert 0 <= start <= side - size
    assert windows == crops.windows(width, height, key)


def test_random_crops_spread_over_all_places() -> None:
    """Over many images every offset comes up, about equally often, and none depends on another."""
    crops = Crops(20, (View.RANDOM, View.RANDOM), resize=1.2)  # room 4: five places
    pairs = [crops.windows(24, 24, f"image-{n}") for n in range(2000)]
    first = np.array([(a.left, a.top) for a, _ in pairs])
    second = np.array([(b.left, b.top) for _, b in pairs])
    for places in (first[:, 0], first[:, 1], second[:, 0], second[:, 1]):
        counts = np.bincount(places, minlength=5)
        assert counts.min() > 320
        assert counts.sum() == 2000
    assert 0.1 < (first[:, 0] == second[:, 0]).mean() < 0.3


def test_a_view_does_not_depend_on_the_ones_before_it() -> None:
    """Random crops are numbered by their place in the list; a flip mirrors what it draws."""
    alone = Crops(8, (View.CENTER, View.RANDOM)).windows(50, 40, "a")[1]
    beside = Crops(8, (View.FLIP, View.RANDOM, View.RANDOM)).windows(50, 40, "a")[1]
    assert alone == beside
    assert not alone.flip
    assert Crops(8, (View.RANDOM_FLIP,)).windows(50, 40, "a")[0].flip


@light
@given(width=st.integers(8, 60), height=st.integers(8, 60), key=st.text(max_size=4))
def test_label_maps_are_cut_like_their_images(width: int, height: int, key: str) -> None:
    """A map of the image's size, every pixel its own label: each window reads the right ones."""
    maps = SegmentMaps("/", 8, 4)
    crops = Crops(8, EVERY, 1.5)
    label = np.arange(width * height, dtype=np.int32).reshape(height, width)
    for window in crops.windows(width, height, key):
        found = maps._cut(label, window)
        found = found[:, ::-1] if window.flip else found
        wide, high = window.resized
        for y, x in ((0, 0), (3, 5), (7, 7)):
            row = int((window.top + y + 0.5) * height / high)
            column = int((window.left + x + 0.5) * width / wide)
            assert found[y, x] == label[row, column]


def test_the_manifest_says_how_pixels_are_made() -> None:
    """In one line, with the resize where it matters."""
    assert Crops(8, CENTRAL).describe() == "adm-center-crop"
    assert Crops(8, (View.TEN,)).describe() == "ten-crop of an adm-resize by 1.1"
    both = Crops(8, (View.CENTER, View.RANDOM), 1.125).describe()
    assert both == "adm-center-crop, random-crop of an adm-resize by 1.125"


@pytest.mark.parametrize("bad", [{"resize": 0.9}, {"resize": 4.5}, {"views": (View.TEN, View.TEN)}])
def test_settings_without_meaning_are_refused(bad: dict[str, Any]) -> None:
    """A crop cannot be larger than its image; ten-crop twice is ten-crop."""
    with pytest.raises(ValueError, match=r"resize must be|each once"):
        TokenizeConfig(**bad)
