"""Real photos and a real dataset, where NVG_TEST_DATA names a folder that holds them.

The folder: cifar10-train-*.parquet, and imagenet300/<class>/ with photos.
"""

import os
from pathlib import Path

import pytest

from pipeline.images.blocks import decode_rows
from pipeline.images.crops import Crops
from pipeline.recipe import DataConfig, SourceKind, View
from pipeline.sources import open_source
from tests.pipeline.sources.makers import Listed

REAL_DATA = os.environ.get("NVG_TEST_DATA", "")
pytestmark = pytest.mark.skipif(not REAL_DATA, reason="NVG_TEST_DATA names no folder")


def test_cifar_rows_are_32_pixels_wide() -> None:
    """The first 64 rows of real CIFAR-10 Parquet decode to 32x32 without an error."""
    source = open_source(DataConfig(source=SourceKind.PARQUET, path=REAL_DATA))
    block = decode_rows(source, source.rows[:64], Crops(32))
    assert set(block["reason"]) == {""}
    assert set(block["width"].tolist()) == set(block["height"].tolist()) == {32}
    assert len(source.classes) == 10


def test_photos_decode_at_256() -> None:
    """Eight real ImageNet photos give 256x256 pixels without an error."""
    photos = sorted(path for path in Path(REAL_DATA, "imagenet300").rglob("*") if path.is_file())
    source = Listed(*[photo.read_bytes() for photo in photos[:8]])
    block = decode_rows(source, source.rows, Crops(256, (View.CENTER, View.FLIP)))
    assert block["reason"].tolist() == [""] * 8
    assert block["pixels"].shape == (8, 2, 3, 256, 256)
    assert min(block["pixels"].std(axis=(1, 2, 3, 4))) > 5
