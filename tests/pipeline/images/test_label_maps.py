"""Label maps beside images: where they are looked for, how they are cropped, what they decide."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from nvg.geometry import labels
from nvg.store import Store, open_store
from nvg.tokenizer.image_batch import RandomCrop
from nvg.view.structure_stats import structure_lines
from pipeline.images.crops import Crops
from pipeline.images.decode import ImageError, decode
from pipeline.images.label_maps import SegmentMaps, label_map, store_regions
from pipeline.images.recipe_images import open_images
from pipeline.recipe import Recipe
from pipeline.tokenize.dataset import tokenize_dataset
from pipeline.tokenize.engine import Engine
from pipeline.train import fit_autoencoder
from tests.nvg.tokenizer.makers import write_autoencoder
from tests.pipeline.images.makers import center_crop, image_bytes, photos_with_maps

# B image, V view, N position, D pixel row or column


@pytest.fixture
def recipe(tmp_path: Path) -> Recipe:
    """Six images with their maps."""
    return photos_with_maps(tmp_path)


def tokenized(recipe: Recipe, folder: Path) -> Store:
    """The store that the recipe makes with an untrained tokenizer."""
    write_autoencoder(folder / "run", config=recipe.autoencoder.model)
    out = str(folder / "tokens.vgs")
    tokenize_dataset(recipe, folder / "run", out, Engine.INLINE)
    return open_store(out)


def test_structure_follows_the_maps(recipe: Recipe, tmp_path: Path) -> None:
    """Two regions of half the image each are the two clusters of stage 1, in both views."""
    store = tokenized(recipe, tmp_path)
    maps = labels(torch.from_numpy(store.leaves[:]).long(), 1, 4)
    halves = torch.tensor([0, 0, 1, 1]).repeat(4)
    assert store.verify() == []
    assert bool((maps == halves).all())


def test_measured_against_their_maps_the_borders_agree(recipe: Recipe, tmp_path: Path) -> None:
    """`inspect --stats --segments` finds every border at stage 1, and no other cluster border."""
    store = tokenized(recipe, tmp_path)
    lines = structure_lines(store, store_regions(store, recipe.data.segments))
    assert lines[3].split()[:2] == ["1", "2"]
    assert lines[3].split()[4:] == ["100.0%", "100.0%"]
    assert store_regions(store, None) is None


@pytest.mark.thorough
@pytest.mark.parametrize("key", ["../outside/a.jpg", "{}/outside/a.jpg", "link/a.jpg", "a\0b"])
def test_a_key_of_a_store_does_not_leave_the_folder_of_maps(
    recipe: Recipe, tmp_path: Path, key: str
) -> None:
    """By dots, as an absolute path, or through a link; the maps below are read."""
    store = tokenized(recipe, tmp_path)
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "a.png").write_bytes(image_bytes(Image.new("L", (8, 8)), "png"))
    (tmp_path / "maps" / "link").symlink_to(tmp_path / "outside")
    regions = store_regions(store, recipe.data.segments)
    assert regions
    assert len(regions("ant/001.jpg", 8, 8)) == store.geometry.positions
    with pytest.raises(ImageError, match="leads out of"):
        regions(key.format(tmp_path), 8, 8)


def test_training_reads_the_maps(recipe: Recipe, tmp_path: Path) -> None:
    """An autoencoder trains, is measured and pictured on given structure."""
    data = replace(recipe.data, heldout=2)
    lines = fit_autoencoder(replace(recipe, data=data), tmp_path / "run", False)
    assert any("held out (2)" in line for line in lines)


def test_an_image_without_its_map_is_an_error_row(recipe: Recipe, tmp_path: Path) -> None:
    """A missing and a damaged map each cost their image, with the reason in the index."""
    (tmp_path / "maps" / "ant" / "001.png").unlink()
    (tmp_path / "maps" / "bee" / "000.png").write_bytes(b"no picture")
    entries = tokenized(recipe, tmp_path).index.to_pylist()
    bad = {entry["key"]: entry["reason"] for entry in entries if entry["status"] != "ok"}
    assert sorted(bad) == ["ant/001.jpg", "bee/000.png"]
    assert "no label map" in bad["ant/001.jpg"]
    assert "not an image" in bad["bee/000.png"]
    opened = open_images(recipe)
    images = opened.center_crops(opened.source.rows)
    batch = images.batch(np.arange(6))
    assert (len(batch.pixels), len(batch.segments)) == (4, 4)  # type: ignore[arg-type]
    assert sorted(images.skipped) == sorted(bad)


def test_maps_follow_random_crops(recipe: Recipe) -> None:
    """The border between two regions moves with the place; at 2 x the size it is often outside."""
    opened = open_images(recipe)
    images = opened.center_crops(opened.source.rows)
    seen = set()
    for seed in range(6):
        batch = images.batch(np.arange(6), RandomCrop(seed, 2.0))
        assert batch.segments is not None
        assert batch.segments.shape == (6, 16)
        seen |= {tuple(grid[:4]) for grid in batch.segments.tolist()}
    assert {(0, 0, 0, 0), (0, 0, 1, 1), (1, 1, 1, 1)} <= seen


@pytest.mark.parametrize("shape", [(16, 16), (40, 16), (17, 33), (300, 200)])
@pytest.mark.parametrize("reduced", [1, 2])
def test_a_map_is_cropped_like_its_image(
    tmp_path: Path, shape: tuple[int, int], reduced: int
) -> None:
    """Where red lies on one side of the image, label 1 lies in the map, at other sizes too."""
    wide, high = shape
    edge = wide * 5 // 8
    pixels = np.zeros((high, wide, 3), np.uint8)
    pixels[:, edge:, 0] = 255
    mask = (pixels[::reduced, ::reduced, 0] > 0).astype(np.uint8)
    Image.fromarray(mask).save(tmp_path / "a.png")
    crop = center_crop(decode(image_bytes(Image.fromarray(pixels), "png"))[0], 8)
    label = SegmentMaps(str(tmp_path), 8, 4).read("a.jpg", Crops(8).windows(wide, high, ""))[0]
    assert label.shape == (8, 8)
    clear = (crop[0] < 30) | (crop[0] > 225)
    assert clear.mean() > 0.7
    assert np.array_equal((crop[0] > 127)[clear], (label == 1)[clear])


@pytest.mark.parametrize(
    ("key", "file"),
    [
        ("ant/b.jpg", "ant/b.png"),
        ("ant/b.c.JPEG", "ant/b.c.png"),
        ("train-0.parquet:17", "train-0.parquet/17.png"),
        ("digit-0042", "digit-0042.png"),
        ("odd:name.png", "odd:name.png"),
    ],
)
def test_a_key_names_its_map(tmp_path: Path, key: str, file: str) -> None:
    """The image's name with .png; a row of a Parquet file has its number in a folder."""
    assert SegmentMaps(str(tmp_path), 8, 4).path(key) == tmp_path / file


def test_pictures_of_any_kind_are_label_maps() -> None:
    """Palette, grey, deep and one-bit values are labels; colours one label each; alpha is none."""
    values = np.array([[0, 1], [1, 3]], np.uint8)
    grey = Image.fromarray(values)
    palette = Image.fromarray(values, "L").convert("P")
    palette.putdata(values.ravel().tolist())
    colour = np.zeros((2, 2, 3), np.uint8)
    colour[1] = (1, 2, 3)
    deep = Image.fromarray(values.astype(np.uint16) * 300)
    both = Image.merge("LA", (grey, Image.new("L", (2, 2), 7)))
    assert label_map(image_bytes(grey, "png")).tolist() == values.tolist()
    assert label_map(image_bytes(palette, "png")).tolist() == values.tolist()
    assert label_map(image_bytes(both, "png")).tolist() == values.tolist()
    assert label_map(image_bytes(deep, "png")).tolist() == (values.astype(int) * 300).tolist()
    assert label_map(image_bytes(Image.fromarray(values > 0), "png")).tolist() == [[0, 1], [1, 1]]
    mixed = label_map(image_bytes(Image.fromarray(colour), "png"))
    assert mixed.tolist() == [[0, 0], [0x010203, 0x010203]]
    for data, words in ((b"text", "not an image"), (b"", "empty file")):
        with pytest.raises(ImageError, match=words):
            label_map(data)
