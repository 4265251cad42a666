"""What the training verbs say they would do: images, epochs, parameters; nothing is touched."""

from dataclasses import replace
from pathlib import Path

import pytest

from nvg.errors import InputError
from nvg.sampling.generators import load_generators
from nvg.tokenizer.autoencoder import load_autoencoder
from pipeline.train import fit_autoencoder, fit_generator, plan_autoencoder, plan_generator
from tests.makers import recipe_over, tiny_recipe, write_image_folder
from tests.nvg.store.makers import make_store


@pytest.mark.parametrize("heldout", [0, 4])
def test_the_autoencoder_plan_counts_images_and_epochs(tmp_path: Path, heldout: int) -> None:
    """4 steps of 4 images; a 4x4 grid has 31 tokens; held-out images do not train."""
    lines = plan_autoencoder(recipe_over(tmp_path, heldout))
    count = 12 - heldout
    assert f"{count} images to train on, {heldout} held out" in lines
    assert any("grid 4" in line and "31 tokens" in line for line in lines)
    assert f"4 steps of 4 images ({16 / count:.1f} epochs)" in lines


def test_the_autoencoder_holds_out_the_val_split(tmp_path: Path) -> None:
    """Of a source that has one; asking for more held-out images is refused."""
    write_image_folder(tmp_path / "images" / "train", per_class=3)
    write_image_folder(tmp_path / "images" / "val", per_class=1)
    recipe = tiny_recipe(tmp_path / "images")
    assert plan_autoencoder(recipe)[0] == "9 images to train on, 3 held out"
    recipe = replace(recipe, data=replace(recipe.data, heldout=2))
    with pytest.raises(InputError, match=r"data\.heldout is 2, but the source has a val split"):
        plan_autoencoder(recipe)


def test_the_autoencoder_plan_counts_parameters(tmp_path: Path) -> None:
    """The millions are those of the model that training then saves."""
    recipe = recipe_over(tmp_path)
    fit_autoencoder(recipe, tmp_path / "run", False)
    count = sum(p.numel() for p in load_autoencoder(tmp_path / "run").parameters())
    assert any(f"{count / 1e6:.2f} M parameters" in line for line in plan_autoencoder(recipe))


@pytest.mark.parametrize("only", [None, "content", "structure"])
def test_the_generator_plan_counts_parameters(tmp_path: Path, only: str | None) -> None:
    """A line for each part that would be trained, with the millions that are trained then."""
    store = make_store(tmp_path / "tokens.vgs", rows=10)
    lines = plan_generator(tiny_recipe(), store.path, only)
    fit_generator(tiny_recipe(), store.path, tmp_path / "run", None, False)
    trained = load_generators(tmp_path / "run")
    for part in ("content", "structure"):
        count = sum(p.numel() for p in getattr(trained, part).parameters())
        line = f"{part}: {count / 1e6:.2f} M parameters"
        assert (line in lines) == (only in (None, part))
    assert "4 steps of 4 (1.6 epochs)" in lines


def test_the_generator_plan_counts_what_is_trained_on(tmp_path: Path) -> None:
    """Held-out rows are no part of an epoch."""
    store = make_store(tmp_path / "tokens.vgs", rows=12, val=(10, 11))
    lines = plan_generator(tiny_recipe(), store.path, None)
    assert lines[0] == f"10 images to train on in {store.path}, 2 held out"
    assert "4 steps of 4 (1.6 epochs)" in lines


def test_plans_touch_nothing(tmp_path: Path) -> None:
    """Planning reads the source and the store and writes no file."""
    recipe = recipe_over(tmp_path)
    store = make_store(tmp_path / "tokens.vgs", rows=10)
    before = sorted(tmp_path.rglob("*"))
    plan_autoencoder(recipe)
    plan_generator(recipe, store.path, None)
    assert sorted(tmp_path.rglob("*")) == before
