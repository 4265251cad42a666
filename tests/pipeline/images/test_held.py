"""Images held in memory: the batches are those of reading, to the bit; limits; bad images."""

import logging
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest

from nvg.seeding import step_rows
from nvg.tokenizer.image_batch import ImageBatch, RandomCrop
from pipeline.images import held
from pipeline.images.blocks import RowImages
from pipeline.images.decode import ImageError
from pipeline.images.held import HeldImages, held_if_small
from pipeline.images.recipe_images import open_images
from tests.pipeline.images.makers import image_bytes, photos_with_maps, picture
from tests.pipeline.sources.makers import Listed


class Remembering(Listed):
    """A source that remembers the keys it was asked for."""

    def __init__(self, *files: bytes | OSError) -> None:
        super().__init__(*files)
        self.asked: list[str] = []

    def read(self, keys: Sequence[str]) -> Iterator[bytes | OSError]:
        self.asked += keys
        return super().read(keys)


def some_images() -> Remembering:
    """Nine images of several shapes and modes; two are bad."""
    files: list[bytes | OSError] = []
    for n in range(9):
        image = picture(20 + n, n).resize((20 + 3 * n, 22)).convert("L" if n == 4 else "RGB")
        files.append(image_bytes(image, "png" if n % 2 else "jpeg"))
    files[3], files[6] = b"text", OSError(5, "Input/output error")
    return Remembering(*files)


def require_equal(one: ImageBatch, other: ImageBatch) -> None:
    assert one.keys == other.keys
    assert one.pixels.dtype == other.pixels.dtype == np.uint8
    assert np.array_equal(one.pixels, other.pixels)
    if one.segments is None or other.segments is None:
        assert one.segments is other.segments
    else:
        assert np.array_equal(one.segments, other.segments)


@pytest.mark.parametrize("resize", [None, 1.0, 1.3])
def test_batches_are_those_of_reading(resize: float | None) -> None:
    """Three epochs of shuffled batches: rows, pixels, crops, skipped images; read once."""
    source = some_images()
    plain = RowImages(source, source.rows, 12)
    images = HeldImages(RowImages(source, source.rows, 12), resize, np.inf)
    images.batch(np.array([0]), RandomCrop(0, resize) if resize else None)
    source.asked.clear()
    found = []
    for step in range(6):
        rows = step_rows(len(images), 4, 0, step)
        found.append(images.batch(rows, RandomCrop(step, resize) if resize else None))
    assert source.asked == []
    for step, batch in enumerate(found):
        crop = RandomCrop(step, resize) if resize else None
        require_equal(batch, plain.batch(step_rows(9, 4, 0, step), crop))
    assert images.skipped == plain.skipped
    assert set(plain.skipped) == {"3", "6"}


@pytest.mark.parametrize("resize", [None, 1.5])
def test_label_maps_are_cut_alike(tmp_path: Path, resize: float | None) -> None:
    """Regions of centre and random crops; an image whose map is missing is skipped."""
    opened = open_images(photos_with_maps(tmp_path))
    plain = opened.center_crops(opened.source.rows)
    images = HeldImages(opened.center_crops(opened.source.rows), resize, np.inf)
    (tmp_path / "maps" / "bee" / "001.png").unlink()
    for step in range(3):
        crop = RandomCrop(step, resize) if resize else None
        rows = np.arange(6)[:: -1 if step else 1]
        require_equal(images.batch(rows, crop), plain.batch(rows, crop))
    assert list(images.skipped) == list(plain.skipped) == ["bee/001.jpg"]
    assert images.skipped == plain.skipped


def test_other_crops_are_read() -> None:
    """Validation asks for centre crops of images that are held for random ones."""
    source = some_images()
    images = HeldImages(RowImages(source, source.rows, 12), 1.5, np.inf)
    plain = RowImages(source, source.rows, 12)
    rows = np.array([8, 0, 1])
    for crop in (None, RandomCrop(3, 1.2)):
        require_equal(images.batch(rows, crop), plain.batch(rows, crop))
    assert source.asked == ["8", "0", "1"] * 4


def test_a_batch_without_images_is_an_error() -> None:
    """As when they are read: the first is named."""
    source = some_images()
    images = HeldImages(RowImages(source, source.rows, 12), None, np.inf)
    with pytest.raises(ImageError, match="3: not an image"):
        images.batch(np.array([3, 6]))


def test_what_grows_too_large_is_read(caplog: pytest.LogCaptureFixture) -> None:
    """The limit holds while images are decoded; a line says so, once, and batches are the same."""
    source = some_images()
    images = HeldImages(RowImages(source, source.rows, 12), 1.5, most=5000)
    plain = RowImages(source, source.rows, 12)
    with caplog.at_level(logging.INFO, "nvg"):
        for step in range(2):
            crop = RandomCrop(step, 1.5)
            require_equal(images.batch(np.arange(9), crop), plain.batch(np.arange(9), crop))
    assert [record.message[:27] for record in caplog.records] == ["decoded images take more th"]


@pytest.mark.parametrize(
    ("resize", "free", "processes", "fits"),
    [
        (None, 10_000, 1, True),
        (None, 7000, 1, False),
        (None, 20_000, 2, True),
        (None, 14_000, 2, False),
        (1.5, 30_000, 1, True),
        (1.5, 20_000, 1, False),
    ],
)
def test_half_of_the_free_memory_may_be_used(
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    resize: float | None,
    free: int,
    processes: int,
    fits: bool,
) -> None:
    """Nine images of 12 pixels are 3,888 bytes; cut from 18 pixels, about 12,247. Each of several
    processes holds its own."""
    monkeypatch.setenv("LOCAL_WORLD_SIZE", str(processes))
    monkeypatch.setattr(held, "free_bytes", lambda: free)
    source = some_images()
    images = RowImages(source, source.rows, 12)
    with caplog.at_level(logging.INFO, "nvg"):
        found = held_if_small(images, resize)
    assert isinstance(found, HeldImages) == fits
    assert len(found) == 9
    assert fits or found is images
    assert len(caplog.records) == (not fits)
