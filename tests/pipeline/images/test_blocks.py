"""Blocks of rows: what they tell of good images, and how bad ones become error rows."""

import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from nvg.seeding import step_seed
from nvg.store import Split
from nvg.tokenizer.image_batch import RandomCrop
from pipeline.images.blocks import RowImages, decode_rows
from pipeline.images.crops import Crops
from pipeline.images.decode import TOO_LONG, ImageError, decode, decode_views
from pipeline.recipe import View
from pipeline.sources import FolderSource, Row
from tests.makers import write_image_folder
from tests.pipeline.images.makers import center_crop, image_bytes, picture, png_header
from tests.pipeline.sources.makers import Listed

BAD_FILES: dict[str, tuple[bytes | OSError, str]] = {
    "empty": (b"", "empty file"),
    "text": (b"<html>404 not found</html>", "not an image"),
    "zeros": (bytes(1000), "not an image"),
    "signature": (b"\x89PNG\r\n\x1a\n", ""),
    "truncated jpeg": (image_bytes(picture(64), "jpeg")[:-300], "truncated"),
    "truncated png": (image_bytes(picture(64), "png")[:600], ""),
    "bomb": (png_header(100_000, 100_000), "too many pixels"),
    "half a bomb": (png_header(13_000, 13_000), ""),
    "bomb of the largest sides": (png_header(2**31 - 1, 2**31 - 1), ""),
    "no width": (png_header(0, 10), ""),
    "cannot be read": (OSError(5, "Input/output error"), "Input/output error"),
}


@pytest.mark.parametrize("name", BAD_FILES)
def test_a_bad_file_is_an_error_row(name: str) -> None:
    """Nothing is raised: the row has a short reason in one line, and pixels of zeros."""
    data, words = BAD_FILES[name]
    good = image_bytes(picture(), "png")
    source = Listed(good, data, good)
    block = decode_rows(source, source.rows, Crops(8))
    reasons = block["reason"].tolist()
    assert (reasons[0], reasons[2]) == ("", "")
    assert 0 < len(reasons[1]) <= 100
    assert len(reasons[1].splitlines()) == 1
    assert words in reasons[1]
    assert not block["pixels"][1].any()
    assert block["pixels"][0].any()


def test_an_isolated_block_is_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    """Good and bad rows, decoded apart: all of a block, or what is large."""
    good = image_bytes(picture(), "png")
    source = Listed(good, b"odd", image_bytes(picture(40), "jpeg"), OSError(5, "lost"))
    here = decode_rows(source, source.rows, Crops(8))
    apart = decode_rows(source, source.rows, Crops(8), isolated=True)
    monkeypatch.setattr("pipeline.images.blocks.LARGE_PIXELS", 1000)
    large = decode_rows(source, source.rows, Crops(8), threads=2)
    for name, column in here.items():
        assert (apart[name] == column).all(), name
        assert (large[name] == column).all(), name


def test_a_stuck_image_is_an_error_row(monkeypatch: pytest.MonkeyPatch) -> None:
    """What its decoder says in the end counts for nothing."""
    over, ended = threading.Event(), threading.Event()
    stuck = image_bytes(picture(9), "png")

    def decode_views_slowly(data: bytes, *others: Any) -> Any:
        if data == stuck:
            over.wait(30)
        try:
            return decode_views(data, *others)
        finally:
            if data == stuck:
                ended.set()

    monkeypatch.setattr("pipeline.images.threads.LOOK_SECONDS", 0.02)
    monkeypatch.setattr("pipeline.images.threads.MOST_SECONDS", 0.02)
    monkeypatch.setattr("pipeline.images.blocks.decode_views", decode_views_slowly)
    good = image_bytes(picture(), "png")
    source = Listed(good, stuck, good)
    block = decode_rows(source, source.rows, Crops(8))
    assert block["reason"].tolist() == ["", TOO_LONG, ""]
    over.set()
    assert ended.wait(30)
    assert not block["pixels"][1].any()
    assert block["pixels"][2].any()


def test_a_long_strip_is_an_error_row() -> None:
    """A thousand bytes that would grow to gigabytes, the short side enlarged, are refused."""
    data = image_bytes(Image.new("1", (9_000_000, 1)), "png")
    assert len(data) < 2000
    source = Listed(data)
    (reason,) = decode_rows(source, source.rows, Crops(256))["reason"]
    assert 0 < len(reason) <= 100


@pytest.mark.parametrize("shape", [(60_000, 1), (1, 60_000)])
def test_a_strip_is_refused_before_it_is_enlarged(shape: tuple[int, int]) -> None:
    """To 256 pixels it would take 12 GB and minutes; the error row is there within a second."""
    source = Listed(image_bytes(Image.new("RGB", shape), "png"))
    began = time.perf_counter()
    block = decode_rows(source, source.rows, Crops(256))
    assert time.perf_counter() - began < 1
    assert block["reason"].tolist() == [f"too long and narrow: {shape[0]}x{shape[1]}"]
    assert (block["width"].item(), block["height"].item()) == shape
    assert not block["pixels"].any()


def test_postscript_is_refused_whatever_its_name(tmp_path: Path) -> None:
    """EPS would start a program (Ghostscript) on data from outside; a name ending in .jpg too."""
    (tmp_path / "ant").mkdir()
    (tmp_path / "ant" / "photo.jpg").write_bytes(image_bytes(picture(), "eps"))
    source = FolderSource(tmp_path)
    (reason,) = decode_rows(source, source.rows, Crops(8))["reason"]
    assert reason == "not an image"


@settings(deadline=None, max_examples=100)
@given(data=st.data(), kind=st.sampled_from(["png", "jpeg", "gif", "webp", "bmp", "tiff"]))
def test_damage_is_never_raised(data: st.DataObject, kind: str) -> None:
    """A file cut short or with changed bytes in it decodes or is an error row."""
    whole = bytearray(image_bytes(picture(), kind))
    end = data.draw(st.integers(1, len(whole)))
    for place in data.draw(st.lists(st.integers(len(whole) // 2, len(whole) - 1), max_size=4)):
        whole[place] = data.draw(st.integers(0, 255))
    source = Listed(bytes(whole[:end]))
    (reason,) = decode_rows(source, source.rows, Crops(8))["reason"]
    assert len(reason.splitlines()) <= 1


def test_a_block_tells_of_every_row(tmp_path: Path) -> None:
    """Key, label, class, size and pixels, row by row, in the order asked for."""
    write_image_folder(tmp_path, ["ant", "bee"], 2, 20)
    (tmp_path / "bee" / "wide.png").write_bytes(image_bytes(picture().resize((30, 10)), "png"))
    source = FolderSource(tmp_path)
    block = decode_rows(source, source.rows[::-1], Crops(8, (View.CENTER, View.FLIP)))
    assert block["key"].tolist() == [row.key for row in source.rows[::-1]]
    assert block["label"].tolist() == [1, 1, 1, 0, 0]
    assert block["class"].tolist() == ["bee", "bee", "bee", "ant", "ant"]
    assert (block["width"].tolist(), block["height"].tolist()) == ([30, *[20] * 4], [10, *[20] * 4])
    assert block["pixels"].shape == (5, 2, 3, 8, 8)
    last = center_crop(decode((tmp_path / source.rows[0].key).read_bytes())[0], 8)
    assert np.array_equal(block["pixels"][4, 0], last)


def test_a_row_keeps_its_split() -> None:
    """Also one whose image is bad."""
    source = Listed(image_bytes(picture(), "png"), b"")
    rows = [Row("0", 0), Row("1", 0, Split.VAL)]
    assert decode_rows(source, rows, Crops(8))["split"].tolist() == ["train", "val"]


def test_a_row_without_a_class_has_no_class_name() -> None:
    """Label -1 means none."""
    source = Listed(image_bytes(picture(), "png"))
    block = decode_rows(source, [Row("0", -1)], Crops(8))
    assert (block["label"].tolist(), block["class"].tolist()) == ([-1], [""])


@pytest.mark.thorough
def test_threads_change_nothing() -> None:
    """More images than threads take at once, bad ones among them: equal columns, in order."""
    names = sorted(BAD_FILES)
    files: list[bytes | OSError] = []
    for n in range(50):
        files.append(image_bytes(picture(20 + n, n), "png" if n % 2 else "jpeg"))
        files.append(BAD_FILES[names[n % len(names)]][0])
    source = Listed(*files)
    crops = Crops(16, (View.CENTER, View.RANDOM_FLIP))
    one, several = (decode_rows(source, source.rows, crops, threads=n) for n in (1, 4))
    assert one.keys() == several.keys()
    for name, column in one.items():
        assert np.array_equal(column, several[name]), name


def test_training_reads_around_bad_images() -> None:
    """The readable ones of a batch come in order; the others are remembered with their reason."""
    files = [image_bytes(picture(seed=n), "png") for n in range(3)]
    source = Listed(files[0], b"text", files[1], b"", files[2])
    images = RowImages(source, source.rows, 8)
    found = images.batch(np.array([4, 3, 0, 1])).pixels
    assert np.array_equal(found[0], center_crop(decode(files[2])[0], 8))
    assert np.array_equal(found[1], center_crop(decode(files[0])[0], 8))
    assert (len(found), len(images)) == (2, 5)
    assert images.skipped == {"1": "not an image", "3": "empty file"}


def test_training_stops_at_a_batch_without_images() -> None:
    """When nothing in a batch can be read, the error names the first image and its reason."""
    source = Listed(b"", b"text")
    with pytest.raises(ImageError, match="0: empty file"):
        RowImages(source, source.rows, 8).batch(np.array([0, 1]))


def places(images: RowImages, row: int, crop: RandomCrop) -> tuple[int, int]:
    """Where the crop of a row lies in the row's image, resized as a whole and searched."""
    (found,) = images.batch(np.array([row]), crop).pixels
    (data,) = images.source.read([images.rows[row].key])
    assert isinstance(data, bytes)
    image, _ = decode(data)
    scale = round(crop.resize * 16) / min(image.size)
    sides = [round(side * scale) for side in image.size]
    whole = np.asarray(image.resize((sides[0], sides[1]), Image.Resampling.BICUBIC))
    (place,) = [
        (left, top)
        for left in range(sides[0] - 15)
        for top in range(sides[1] - 15)
        if np.array_equal(whole[top : top + 16, left : left + 16].transpose(2, 0, 1), found)
    ]
    return place


def test_random_crops_are_squares_of_the_resized_image() -> None:
    """Never mirrored, each place of 3x3 in some step; two images of a step lie apart."""
    files = [image_bytes(picture(24, seed), "png") for seed in range(2)]
    source = Listed(*files)
    images = RowImages(source, source.rows, 16)
    found = [
        [places(images, row, RandomCrop(step_seed(7, step), 1.125)) for row in (0, 1)]
        for step in range(80)
    ]
    for row in (0, 1):
        assert {pair[row] for pair in found} == {(x, y) for x in range(3) for y in range(3)}
    assert 40 < sum(one != other for one, other in found) < 80


def test_a_crop_depends_on_seed_and_key_alone() -> None:
    """Not on the order, the other images or those before; without a crop it is the centre's."""
    wide = picture(24, 2).resize((60, 24))
    files = [image_bytes(picture(24, 0), "png"), image_bytes(wide, "png")]
    source, crop = Listed(*files), RandomCrop(5, 1.125)
    images, again = (RowImages(source, source.rows, 16) for _ in range(2))
    one = images.batch(np.array([0, 1]), crop).pixels
    assert np.array_equal(one[::-1], again.batch(np.array([1, 0]), crop).pixels)
    assert np.array_equal(one[1:], again.batch(np.array([1]), crop).pixels)
    other = images.batch(np.array([0, 1]), RandomCrop(6, 1.125)).pixels
    assert not np.array_equal(one, other)
    center = images.batch(np.array([0, 1])).pixels
    assert np.array_equal(center[1], center_crop(decode(files[1])[0], 16))
    whole = images.batch(np.array([0]), RandomCrop(5, 1.0)).pixels  # no room
    assert np.array_equal(whole[0], center[0])
