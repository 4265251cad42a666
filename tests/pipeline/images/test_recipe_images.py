"""The images of a recipe, opened once: label maps, fingerprint, the copy for workers."""

import pickle
from dataclasses import replace
from pathlib import Path

import pytest

from nvg.errors import InputError
from pipeline.images.recipe_images import open_images
from pipeline.recipe import Recipe
from tests.makers import tiny_recipe
from tests.pipeline.images.makers import photos_with_maps


@pytest.fixture
def recipe(tmp_path: Path) -> Recipe:
    """Six images with their maps."""
    return photos_with_maps(tmp_path)


def test_changed_maps_change_the_fingerprint(recipe: Recipe, tmp_path: Path) -> None:
    """A store cannot be resumed over maps of another size, nor mistaken for one without maps."""
    images = open_images(recipe)
    before = images.fingerprint()
    assert before != images.source.fingerprint()
    (tmp_path / "maps" / "ant" / "000.png").write_bytes(b"")
    assert images.fingerprint() != before
    assert replace(images, maps=None).fingerprint() == images.source.fingerprint()


def test_only_builders_that_take_maps_ask_for_them(recipe: Recipe) -> None:
    """Without them nothing is read; with them a missing folder is named."""
    assert open_images(tiny_recipe(recipe.data.path)).maps is None
    lost = replace(recipe, data=replace(recipe.data, segments="/nowhere/maps"))
    with pytest.raises(InputError, match="/nowhere/maps"):
        open_images(lost)
    with pytest.raises(InputError, match=r"data\.segments is missing"):
        open_images(replace(recipe, data=replace(recipe.data, segments="")))
    plain = replace(open_images(recipe), maps=None)
    assert "segments" not in plain.block(plain.source.rows)


def test_workers_get_no_list_of_rows(recipe: Recipe) -> None:
    """A copy without the rows reads the same pixels, and the original keeps its rows."""
    images = open_images(recipe)
    rows = images.source.rows
    sent = pickle.loads(pickle.dumps(images.without_rows(["x", "y"])))
    assert (sent.source.rows, sent.source.classes) == ([], ["x", "y"])
    assert (sent.block(rows)["pixels"] == images.block(rows)["pixels"]).all()
    assert sent.block(rows)["class"].tolist() == ["x"] * 3 + ["y"] * 3
    assert len(images.source.rows) == 6
