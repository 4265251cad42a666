"""A folder of everything odd: each file is one row, right or with a reason, and never another's."""

import ctypes
import io
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageSequence

from nvg.store import Store, open_store
from pipeline.recipe import TokenizeConfig
from pipeline.sources import Place
from pipeline.tokenize.dataset import tokenize_dataset
from tests.makers import tiny_recipe
from tests.pipeline.images.makers import exif_jpeg, image_bytes, picture, png_header

NOBODY = 65534


def frames() -> bytes:
    """An animation of three pictures."""
    first, *rest = (picture(seed=seed) for seed in (1, 2, 3))
    return image_bytes(first, "gif", save_all=True, append_images=rest)


def deep() -> Image.Image:
    """16 bits a pixel."""
    return Image.fromarray(np.asarray(picture().convert("L")).astype(np.uint16) * 257)


def clear_palette() -> bytes:
    """A palette with a transparent entry."""
    return image_bytes(picture().quantize(16), "png", transparency=3)


# Name -> bytes, and what the reason says; "" where the file is an image after all.
FILES: dict[str, tuple[bytes, str]] = {
    "plain.png": (image_bytes(picture(), "png"), ""),
    "truncated.jpg": (image_bytes(picture(64), "jpeg")[:-300], "truncated"),
    "truncated.png": (image_bytes(picture(64), "png")[:600], "damaged"),
    "nothing.jpg": (b"", "empty file"),
    "text.jpg": (b"<html>404</html>", "not an image"),
    "zeros.png": (bytes(5000), "not an image"),
    "cmyk.jpg": (image_bytes(picture().convert("CMYK"), "jpeg", quality=95), ""),
    "deep.png": (image_bytes(deep(), "png"), ""),
    "grey.png": (image_bytes(picture().convert("L"), "png"), ""),
    "alpha.png": (image_bytes(picture().convert("RGBA"), "png"), ""),
    "palette.png": (clear_palette(), ""),
    "animated.gif": (frames(), ""),
    "one.png": (image_bytes(Image.new("RGB", (1, 1), (9, 99, 200)), "png"), ""),
    "wide.png": (image_bytes(Image.new("RGB", (30_000, 40), (1, 2, 3)), "png"), ""),
    "strip.png": (image_bytes(Image.new("1", (9_000_000, 1)), "png"), "too long and narrow"),
    "bomb.png": (png_header(100_000, 100_000), "too many pixels"),
    "exif.jpg": (exif_jpeg(b"Exif\0\0MM\0*\0\0\0\x08\xff\xff" + b"\xff" * 40), ""),
    "really-a-png.jpg": (image_bytes(picture(seed=5), "png"), ""),
    "postscript.jpg": (image_bytes(picture(), "eps"), "not an image"),
    "été \N{SNOWMAN}.png": (image_bytes(picture(seed=6), "png"), ""),
    "quote's \"<b>&.png": (image_bytes(picture(seed=7), "png"), ""),
    "forbidden.png": (image_bytes(picture(), "png"), "cannot be read: Permission denied"),
}


@dataclass
class Made:
    """The store over the odd files, and where they lie."""

    store: Store
    folder: Path


def read_as_nobody(read: Callable[[Place, str], Any]) -> Callable[[Place, str], Any]:
    """The same reading, without the rights of the superuser, who may read everything.

    They are dropped by this thread only, since another one writes the store meanwhile.
    """
    libc = ctypes.CDLL(None)

    def reading(place: Place, key: str) -> Any:
        is_root = os.geteuid() == 0
        if is_root:
            libc.setfsuid(NOBODY)
        try:
            return read(place, key)
        finally:
            if is_root:
                libc.setfsuid(0)

    return reading


@pytest.fixture(scope="module")
def made(tokenizer: Path) -> Iterator[Made]:
    """One pass over all of them, with a dangling link and a name that two classes have."""
    folder = Path(tempfile.mkdtemp())  # pytest's own folders keep everyone else out
    folder.chmod(0o777)
    for name, (data, _) in FILES.items():
        for file in [Path("odd", name), *([Path("more", name)] if name == "plain.png" else [])]:
            (folder / "images" / file).parent.mkdir(parents=True, exist_ok=True)
            (folder / "images" / file).write_bytes(data)
    (folder / "images" / "odd" / "forbidden.png").chmod(0)
    (folder / "images" / "odd" / "link.png").symlink_to(folder / "gone.png")
    recipe = tiny_recipe(folder / "images", tokenize=TokenizeConfig(chunk_rows=5))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Place, "_read_here", read_as_nobody(Place._read_here))
        tokenize_dataset(recipe, tokenizer, str(folder / "a.vgs"))
    yield Made(open_store(str(folder / "a.vgs")), folder)
    shutil.rmtree(folder)


def test_every_file_is_a_row(made: Made) -> None:
    """Each once, those of one name in two classes apart; the store is intact."""
    keys = made.store.index["key"].to_pylist()
    wanted = [f"odd/{name}" for name in (*FILES, "link.png")] + ["more/plain.png"]
    assert sorted(keys) == sorted(wanted)
    assert made.store.verify() == []


@pytest.mark.parametrize("name", [*FILES, "link.png"])
def test_a_row_is_right_or_has_its_reason(made: Made, name: str) -> None:
    """Status and reason are those of this file."""
    (entry,) = (e for e in made.store.index.to_pylist() if e["key"] == f"odd/{name}")
    words = FILES[name][1] if name in FILES else "cannot be read: No such file"
    if words:
        assert entry["status"] == "error"
        assert words in entry["reason"]
        assert len(entry["reason"].splitlines()) == 1
    else:
        assert (entry["status"], entry["reason"]) == ("ok", "")
        assert entry["width"] > 0


@pytest.mark.filterwarnings("ignore:Corrupt EXIF data")
def test_no_row_shows_another_image(made: Made, tokenizer: Path, tmp_path: Path) -> None:
    """The same pictures opened by Pillow and saved plainly have the same tokens."""
    good = [name for name, (_, words) in FILES.items() if not words]
    (tmp_path / "images").mkdir()
    for number, name in enumerate(good):
        image: Image.Image = Image.open(io.BytesIO(FILES[name][0]))
        image = next(iter(ImageSequence.Iterator(image)))
        if name == "deep.png":
            image = Image.fromarray((np.asarray(image) // 257).astype(np.uint8))
        if name == "palette.png":
            image = image.convert("RGBA")
            image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
        image.convert("RGB").save(tmp_path / "images" / f"{number:03d}.png")
    plain_recipe = tiny_recipe(tmp_path / "images", tokenize=TokenizeConfig(chunk_rows=5))
    tokenize_dataset(plain_recipe, tokenizer, str(tmp_path / "plain.vgs"))
    plain, rows = open_store(str(tmp_path / "plain.vgs")), made.store.index["key"].to_pylist()
    for number, name in enumerate(good):
        row = rows.index(f"odd/{name}")
        assert np.array_equal(made.store.content[row], plain.content[number]), name
        assert np.array_equal(made.store.leaves[row], plain.leaves[number]), name
