"""The recipe that a path stands for, printed whole."""

from pathlib import Path

import pytest

from nvg.config import dump
from nvg.errors import InputError
from pipeline.print_recipe import recipe_text
from pipeline.recipe import Exif, Recipe, load_recipe
from tests.makers import tiny_recipe, write_image_folder

GOLDEN = Path(__file__).resolve().parents[1] / "golden/v0.1"


def printed(tmp_path: Path, path: object, *settings: str) -> Recipe:
    """What is printed, read again."""
    (tmp_path / "printed.toml").write_text(recipe_text(str(path) if path else None, settings))
    return load_recipe(tmp_path / "printed.toml")


def test_a_recipe_is_printed_whole(tmp_path: Path) -> None:
    """It can be used again, overridden too; every default is in it."""
    dump(tiny_recipe(), tmp_path / "my.toml")
    assert printed(tmp_path, tmp_path / "my.toml") == tiny_recipe()
    changed = printed(tmp_path, tmp_path / "my.toml", "sample.top_p=0.9")
    assert changed.sample.top_p == 0.9
    assert "\ncheckpoint_activations = false\n" in recipe_text(str(tmp_path / "my.toml"))


def test_the_defaults_are_the_papers(tmp_path: Path) -> None:
    """Of d16; preset and profile are keys like others."""
    assert printed(tmp_path, None).generator.content.width == 1024
    small = printed(tmp_path, None, "generator.preset=small8", "profile=release")
    assert small.generator.content.width == 512
    assert small.sample.split == "top-half"


def test_a_run_a_tokenizer_and_a_store_have_their_recipes(tmp_path: Path) -> None:
    """Of the run what it was trained by; of the others what they know."""
    run = printed(tmp_path, GOLDEN / "generator")
    assert run == load_recipe(GOLDEN / "generator/config.toml", warn=False)
    weights = GOLDEN / "autoencoder/autoencoder.safetensors"
    assert printed(tmp_path, weights).autoencoder.model == run.autoencoder.model
    store = printed(tmp_path, GOLDEN / "tokens.vgs")
    assert store.autoencoder.model == run.autoencoder.model
    assert store.data.exif is Exif.IGNORE  # of a time before there was a choice
    assert store.tokenize == run.tokenize


def test_images_have_the_recipe_that_they_stand_for(tmp_path: Path) -> None:
    """A folder; what is none of all these is said."""
    write_image_folder(tmp_path / "photos", size=16)
    recipe = printed(tmp_path, tmp_path / "photos", "data.heldout=2")
    assert (recipe.data.path, recipe.data.heldout) == (str(tmp_path / "photos"), 2)
    with pytest.raises(InputError, match="nowhere does not exist"):
        recipe_text("nowhere")
    with pytest.raises(InputError, match=r"--set: unknown key sample\.topp"):
        recipe_text(None, ["sample.topp=1"])
