"""What a picture is does not depend on where it lies: one set of tokens from every source."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageCms

from nvg.store import open_store
from pipeline.recipe import DataConfig, SourceKind
from pipeline.sources.folder import FolderSource
from tests.makers import smooth_image, tiny_recipe
from tests.pipeline.sources.makers import CLASSES, opened, write_shards, write_tables
from tests.pipeline.tokenize.makers import run

SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
EXCHANGED = (  # sRGB with its red and green primaries exchanged
    SRGB.replace(b"rXYZ", b"????", 1).replace(b"gXYZ", b"rXYZ", 1).replace(b"????", b"gXYZ")
)

ROWS = 4 * len(CLASSES)


def write_pictures(root: Path) -> None:
    """In every class: turned, transparent, with a profile, CMYK with one of other channels."""
    rng = np.random.default_rng(3)
    turned = Image.Exif()
    turned[0x0112] = 6
    clear = smooth_image(rng, 16).convert("RGBA")
    clear.putalpha(Image.fromarray(np.tile(np.arange(0, 256, 16, dtype=np.uint8), (16, 1))))
    files: dict[str, tuple[Image.Image, dict[str, Any]]] = {
        "turned.jpg": (smooth_image(rng, 16), {"exif": turned}),
        "clear.png": (clear, {}),
        "wide.png": (smooth_image(rng, 16), {"icc_profile": EXCHANGED}),
        "ink.jpg": (smooth_image(rng, 16).convert("CMYK"), {"icc_profile": SRGB}),
    }
    for name in CLASSES:
        (root / name).mkdir(parents=True)
        for file, (image, options) in files.items():
            image.save(root / name / file, **options)


@pytest.mark.thorough
def test_folder_parquet_and_tar_give_equal_tokens(tokenizer: Path, tmp_path: Path) -> None:
    """Orientation, alpha and profiles included; without them the tokens are others."""
    write_pictures(tmp_path / "images")
    source = opened(SourceKind.FOLDER, tmp_path / "images")
    assert isinstance(source, FolderSource)
    write_shards(source, tmp_path / "shards")
    write_tables(source, tmp_path)
    places = {
        "folder": (SourceKind.FOLDER, tmp_path / "images"),
        "parquet": (SourceKind.PARQUET, tmp_path / "parquet"),
        "tar": (SourceKind.WEBDATASET, tmp_path / "shards"),
    }
    found = {}
    for name, (kind, path) in places.items():
        recipe = tiny_recipe(data=DataConfig(source=kind, path=str(path)))
        report = run(recipe, tokenizer, tmp_path / f"{name}.vgs")
        report.require_images(0)
        store = open_store(str(tmp_path / f"{name}.vgs"))
        found[name] = [store.label[:], *store.row_tokens(range(ROWS))]
    plain = tiny_recipe(tmp_path / "images")
    former = replace(plain, data=replace(plain.data, exif=None, icc=None, background=None))
    run(former, tokenizer, tmp_path / "former.vgs")
    former_leaves, _ = open_store(str(tmp_path / "former.vgs")).row_tokens(range(ROWS))
    for name in ("parquet", "tar"):
        for one, other in zip(found["folder"], found[name], strict=True):
            assert np.array_equal(one, other), name
    assert not np.array_equal(found["folder"][1], former_leaves)
