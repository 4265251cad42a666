"""The picture of samples: bytes of the format its suffix names, and a name of its own."""

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from nvg.errors import InputError
from pipeline.sampling.picture import FORMATS, default_picture, picture_bytes, require_picture


@pytest.mark.parametrize("suffix", [*FORMATS, ".JPG"])
def test_a_suffix_is_a_format(suffix: str) -> None:
    """What is written is what the name says; only JPEG may lose a little."""
    path = Path(f"a{suffix}")
    require_picture(path)
    pixels = np.arange(8 * 8 * 3, dtype=np.uint8).reshape(8, 8, 3)
    with Image.open(io.BytesIO(picture_bytes(Image.fromarray(pixels), path))) as image:
        assert (image.format or "").lower() == FORMATS[suffix.lower()][0]
        if suffix.lower() not in (".jpg", ".jpeg"):
            assert np.array_equal(np.asarray(image.convert("RGB")), pixels)


@pytest.mark.parametrize("name", ["a.txt", "a", "a.png.bak"])
def test_another_suffix_is_refused(name: str) -> None:
    """One line with what a name may end in."""
    with pytest.raises(InputError, match=r"let it end in .png"):
        require_picture(Path(name))


def test_a_picture_has_a_name_of_its_own() -> None:
    """By classes, number and seed; what else matters is in a digest; no time."""
    run = Path("run")
    plain = default_picture(run, ["ant", "bee"], False, 8, 0, {})
    assert plain == run / "samples" / "all-n8-seed0.png"
    two = default_picture(run, ["red fox", "a/b"], True, 2, 3, {})
    assert two.name == "red_fox-a_b-n2-seed3.png"
    many = [default_picture(run, list(names), True, 1, 0, {}) for names in ("abcde", "abcdf")]
    assert many[0].name.startswith("5-classes-")
    others = [default_picture(run, ["ant"], True, 8, 0, {"keep": keep}) for keep in ("a", "b")]
    assert len({plain, two, *many, *others}) == 6
