"""The dry run: what a pass would take, near what it takes."""

from dataclasses import replace
from pathlib import Path

import pytest

from nvg.errors import InputError
from pipeline.images.crops import Crops
from pipeline.recipe import AutoencoderSection, Recipe, TokenizeConfig, View
from pipeline.tokenize.dataset import tokenize_dataset
from pipeline.tokenize.estimate import chunk_bytes, plan_lines
from tests.makers import files_below, tiny_recipe, write_image_folder
from tests.nvg.store.makers import empty_store, make_store
from tests.nvg.tokenizer.makers import tiny_model, write_autoencoder


@pytest.fixture
def recipe(tmp_path: Path) -> Recipe:
    """A recipe over a folder of 12 images."""
    write_image_folder(tmp_path / "images")
    return tiny_recipe(tmp_path / "images")


@pytest.mark.parametrize(
    ("grid", "views", "each"),
    [
        (4, (View.CENTER,), 16 + 2 * 31 + 4),
        (16, (View.CENTER,), 256 + 2 * 511 + 4),
        (16, (View.CENTER, View.FLIP), 2 * (256 + 2 * 511) + 4),
        (32, (View.CENTER,), 2 * 1024 + 2 * 2047 + 4),
    ],
)
def test_a_dry_run_counts_images_chunks_and_bytes(
    recipe: Recipe, grid: int, views: tuple[View, ...], each: int
) -> None:
    """12 images in chunks of 5, and the bytes that an image takes before compression."""
    section = AutoencoderSection(model=tiny_model(grid))
    tokenize = TokenizeConfig(chunk_rows=5, views=views)
    text = " ".join(
        plan_lines(tiny_recipe(recipe.data.path, autoencoder=section, tokenize=tokenize))
    )
    for words in (f"12 images x {len(views)} views", "3 chunks of 5", f"{each} bytes an image"):
        assert words in text


def test_a_dry_run_counts_the_splits(recipe: Recipe, tmp_path: Path) -> None:
    """Of held-out images, and of a store that was begun without them."""
    aside = replace(recipe, data=replace(recipe.data, heldout=3))
    assert plan_lines(aside)[0].startswith("12 images (9 train, 3 val) x 1 views in 3 chunks of 4")
    empty_store(tmp_path / "old.vgs", 9)
    old = plan_lines(aside, str(tmp_path / "old.vgs"))[0]
    assert old.startswith("9 images x 1 views in 3 chunks of 4")


def test_the_estimate_is_near(recipe: Recipe, tmp_path: Path) -> None:
    """Near what arrays, index and commits take on the disk when all codes are used."""
    section = AutoencoderSection(model=tiny_model(16, codebook_size=1024))
    make_store(tmp_path / "a.vgs", 288, grid=16, codebook_size=1024, chunk_rows=96, shard_rows=288)
    files = files_below(tmp_path / "a.vgs")
    size = sum(len(data) for name, data in files.items() if "safetensors" not in name)
    about = float(plan_lines(replace(recipe, autoencoder=section))[1].split()[1])
    assert 0.9 < size / 288 / about < 1.2


def test_a_dry_run_counts_what_is_done(recipe: Recipe, tmp_path: Path) -> None:
    """Chunks that are committed at --out already."""
    write_autoencoder(tmp_path / "run")
    out = str(tmp_path / "a.vgs")
    assert "0 of them committed" in plan_lines(recipe, out)[0]
    tokenize_dataset(recipe, tmp_path / "run", out)
    assert "3 of them committed" in plan_lines(recipe, out)[0]


def test_chunks_too_large_to_hold_are_refused(recipe: Recipe) -> None:
    """With the largest size that is not, before anything is read."""
    views = (View.TEN, View.CENTER)
    crops = Crops(recipe.autoencoder.model.image_size, views)
    with pytest.raises(InputError, match=r"chunk_rows 10000000 .* at most 508400$") as caught:
        chunk_bytes(crops, 10**7)
    most = int(str(caught.value).split()[-1])
    assert chunk_bytes(crops, most)
