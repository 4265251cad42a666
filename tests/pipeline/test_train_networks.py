"""A training whose builder or networks are not to be had is refused before anything is written."""

from pathlib import Path

import pytest

from nvg.config import as_table, build, overridden
from nvg.errors import InputError
from pipeline.recipe import Recipe
from pipeline.train import fit_autoencoder
from pipeline.train_plan import plan_autoencoder
from tests.makers import recipe_over

NONE = r"none\.pth is no file"


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (["train.loss.perceptual=1", "train.loss.vgg='none.pth'"], NONE),
        (["train.discriminator={kind='dino', weights='none.pth'}"], NONE),
        (
            ["train.discriminator={kind='dino', weights='none.pth', model='vit_no'}"],
            "timm knows no model 'vit_no'",
        ),
        (["model.builder='no_such:build'"], "there is no module no_such in "),
    ],
)
def test_what_is_not_to_be_had_leaves_nothing(
    settings: list[str], words: str, tmp_path: Path
) -> None:
    """A dry run says the same."""
    table = as_table(recipe_over(tmp_path))
    recipe = build(Recipe, overridden(Recipe, table, [f"autoencoder.{each}" for each in settings]))
    with pytest.raises(InputError, match=words):
        fit_autoencoder(recipe, tmp_path / "run", False)
    with pytest.raises(InputError, match=words):
        plan_autoencoder(recipe, out=tmp_path / "run")
    assert not (tmp_path / "run" / "config.toml").exists()
