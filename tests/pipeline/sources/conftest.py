"""A folder of images that the tests of every source read."""

from pathlib import Path

import pytest

from pipeline.sources import (
    FolderSource,
)
from tests.makers import write_image_folder
from tests.pipeline.sources.makers import (
    CLASSES,
)


@pytest.fixture
def folder(tmp_path: Path) -> FolderSource:
    """Six images of two classes, which every other source holds too."""
    write_image_folder(tmp_path / "images", CLASSES, 3, 16)
    return FolderSource(tmp_path / "images")
