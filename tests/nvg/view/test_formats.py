"""Formats of pictures: the bytes are what the suffix says."""

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from nvg.errors import InputError
from nvg.view.formats import (
    CHART_FORMATS,
    FORMATS,
    PAGE_FORMATS,
    picture_bytes,
    require_drawing,
    require_picture,
)

PIXELS = np.arange(8 * 8 * 3, dtype=np.uint8).reshape(8, 8, 3)


@pytest.mark.parametrize("suffix", [*sorted(set(FORMATS) - {".pdf"}), ".JPG"])
def test_a_suffix_is_a_format(suffix: str) -> None:
    """What is written is what the name says; only JPEG may lose a little."""
    path = Path(f"a{suffix}")
    require_picture(path)
    with Image.open(io.BytesIO(picture_bytes(Image.fromarray(PIXELS), path))) as image:
        assert (image.format or "").lower() == FORMATS[suffix.lower()][0]
        if suffix.lower() not in (".jpg", ".jpeg"):
            assert np.array_equal(np.asarray(image.convert("RGB")), PIXELS)


def test_a_page_is_a_pdf() -> None:
    """Of one picture."""
    require_picture(Path("a.pdf"))
    assert picture_bytes(Image.fromarray(PIXELS), Path("a.pdf")).startswith(b"%PDF")


@pytest.mark.parametrize("name", ["a.txt", "a", "a.png.bak", "a.svg"])
def test_another_suffix_is_refused(name: str) -> None:
    """One line with what a name may end in."""
    with pytest.raises(InputError, match=r"let it end in \.png, \.jpg"):
        require_picture(Path(name))


def test_a_drawing_is_refused_before_work(tmp_path: Path) -> None:
    """By its suffix, or by its place."""
    require_drawing(tmp_path / "new" / "a.html", PAGE_FORMATS)
    for path, formats, words in (
        (tmp_path / "a.txt", PAGE_FORMATS, r"let it end in \.html, \.htm"),
        (tmp_path / "a.html", FORMATS, r"let it end in \.png"),
        (tmp_path, PAGE_FORMATS, "is a directory"),
    ):
        with pytest.raises(InputError, match=words):
            require_drawing(path, formats)


def test_a_chart_has_formats_of_its_own() -> None:
    """Lines may be SVG, not JPEG."""
    require_picture(Path("a.svg"), CHART_FORMATS)
    with pytest.raises(InputError, match=r"a\.jpg names .* end in \.png, \.pdf, \.svg"):
        require_picture(Path("a.jpg"), CHART_FORMATS)
