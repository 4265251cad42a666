"""Recipes: the shipped ones load, what they refuse, and the way through TOML."""

from pathlib import Path
from typing import Any

import pytest

from nvg.config import ConfigError, as_table, build, dump, load
from pipeline.recipe import DataConfig, Recipe, SourceKind, TokenizeConfig, View, load_recipe
from tests.makers import tiny_recipe

SHIPPED = sorted((Path(__file__).resolve().parents[3] / "datasets").glob("*.toml"))


def test_there_are_recipes() -> None:
    """The tests below take their files from datasets/: with none they would pass unseen."""
    assert SHIPPED


@pytest.mark.parametrize("file", SHIPPED, ids=lambda file: file.stem)
def test_every_shipped_recipe_loads(file: Path) -> None:
    """What datasets/ holds has no misspelt key and no impossible value."""
    recipe = load_recipe(file)
    assert recipe.autoencoder.model.geometry.K >= 2
    assert recipe.data.source in SourceKind


@pytest.mark.parametrize("file", SHIPPED, ids=lambda file: file.stem)
def test_every_shipped_recipe_says_what_to_expect(file: Path) -> None:
    """Its head comment names the command to run it."""
    head = file.read_text().split("\n\n")[0].splitlines()
    assert all(line.startswith("#") for line in head)
    assert any("nvgctl" in line or "justw" in line for line in head)


def test_a_recipe_survives_its_run_directory(tmp_path: Path) -> None:
    """Dumped beside a run and read back, it is the same recipe."""
    recipe = tiny_recipe("some/folder", tokenize=TokenizeConfig(views=(View.CENTER, View.FLIP)))
    dump(recipe, tmp_path / "config.toml")
    assert load(Recipe, tmp_path / "config.toml") == recipe


def test_a_recipe_stores_one_central_view_unless_told() -> None:
    """The defaults of the offline pass: chunks of 1024 rows, the centre crop, nothing held out."""
    recipe = tiny_recipe(tokenize=TokenizeConfig())
    assert (recipe.tokenize.chunk_rows, recipe.tokenize.views) == (1024, (View.CENTER,))
    assert recipe.data.heldout == 0


@pytest.mark.parametrize(
    ("section", "change", "words"),
    [
        ("tokenize", {"chunk_rows": 0}, "tokenize.*chunk_rows.*at least 1"),
        ("tokenize", {"batch_size": -1}, "tokenize.*batch_size.*at least 1"),
        ("tokenize", {"views": []}, "tokenize.*views.*at least one"),
        ("tokenize", {"views": ["flip", "flip"]}, "tokenize.*views.*once"),
        ("tokenize", {"views": ["mirror"]}, r"tokenize\.views\[0\].*center.*flip.*mirror"),
        ("data", {"source": "zip"}, r"data\.source.*digits.*folder.*parquet.*zip"),
        ("data", {"source": "digits", "pfad": "x"}, r"data\.pfad"),
        ("data", {}, r"missing key data\.source"),
    ],
)
def test_an_impossible_recipe_is_refused(section: str, change: dict[str, Any], words: str) -> None:
    """One line names the section or key, and what could stand there."""
    table = as_table(tiny_recipe()) | {section: change}
    with pytest.raises(ConfigError, match=words) as caught:
        build(Recipe, table)
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"image_size": 9}, "autoencoder.model: .*9.*multiple"),
        ({"image_size": 24}, "autoencoder.model: .*power of two.*12"),
        ({"codebook_size": 65537}, "autoencoder.model: .*65537"),
        ({"multipliers": []}, "autoencoder.model: .*multipliers"),
    ],
)
def test_an_impossible_model_is_refused(change: dict[str, Any], words: str) -> None:
    """A grid that is no power of two, or tokens that do not fit uint16, is named by section."""
    table = as_table(tiny_recipe())
    table["autoencoder"]["model"] |= change
    with pytest.raises(ConfigError, match=words):
        build(Recipe, table)


def test_recipes_can_be_compared_and_hashed() -> None:
    """Worker processes keep one source per recipe."""
    assert len({tiny_recipe("a"), tiny_recipe("a"), tiny_recipe("b")}) == 2
    assert DataConfig(source=SourceKind.DIGITS) == DataConfig(source=SourceKind("digits"))
