"""What the training verbs say they would do: images, epochs, parameters; nothing is touched."""

import re
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from nvg.errors import InputError
from nvg.sampling.generators import load_generators
from nvg.tokenizer.autoencoder import load_autoencoder
from nvg.training.config import ShardOver
from pipeline.train import fit_autoencoder, fit_generator
from pipeline.train_plan import plan_autoencoder, plan_generator
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


def test_a_plan_refuses_what_training_refuses(tmp_path: Path) -> None:
    """A batch that no epoch fills or that cannot be shared out, a place that is taken."""
    recipe, generator = recipe_over(tmp_path), tiny_recipe().generator
    store = make_store(tmp_path / "tokens.vgs", rows=10)
    section = recipe.autoencoder
    large = replace(section, train=replace(section.train, batch_size=100))
    with pytest.raises(InputError, match=r"autoencoder\.train\.batch_size 100 is more than the 12"):
        plan_autoencoder(replace(recipe, autoencoder=large))
    for train, processes, words in (
        (replace(generator.train, batch_size=100), 1, "batch_size 100 is more than the 10 images"),
        (generator.train, 3, "4 is not a multiple of 3 processes"),
    ):
        with pytest.raises(InputError, match=words):
            plan_generator(
                tiny_recipe(generator=replace(generator, train=train)),
                store.path,
                None,
                processes=processes,
            )
    fit_autoencoder(recipe, tmp_path / "ae", False)
    with pytest.raises(InputError, match="ae holds a run: continue it with --resume"):
        plan_autoencoder(recipe, out=tmp_path / "ae")
    assert plan_autoencoder(recipe, out=tmp_path / "ae", resume=True)
    fit_generator(tiny_recipe(), store.path, tmp_path / "run", None, False)
    with pytest.raises(InputError, match="run holds a run: continue it with --resume"):
        plan_generator(tiny_recipe(), store.path, None, out=tmp_path / "run")
    assert plan_generator(tiny_recipe(), store.path, None, out=tmp_path / "run", resume=True)


def test_thousands_of_epochs_are_warned_of(tmp_path: Path) -> None:
    """In the plan, by key."""
    recipe = recipe_over(tmp_path)
    section = recipe.autoencoder
    assert not any("by heart" in line for line in plan_autoencoder(recipe))
    long = replace(section, train=replace(section.train, steps=30_000))
    lines = plan_autoencoder(replace(recipe, autoencoder=long))
    assert (
        "10,000 epochs of 12 images: it will know them by heart; lower autoencoder.train.steps or "
        "batch_size" in lines
    )


def test_plans_touch_nothing(tmp_path: Path) -> None:
    """Planning reads the source and the store and writes no file."""
    recipe = recipe_over(tmp_path)
    store = make_store(tmp_path / "tokens.vgs", rows=10)
    before = sorted(tmp_path.rglob("*"))
    plan_autoencoder(recipe)
    plan_generator(recipe, store.path, None)
    assert sorted(tmp_path.rglob("*")) == before


def test_plans_state_memory(tmp_path: Path) -> None:
    """For the recipe's batch, on the device in hand and on a GPU of a size."""
    recipe = recipe_over(tmp_path)
    store = make_store(tmp_path / "tokens.vgs", rows=10)
    for lines in (
        plan_autoencoder(recipe, 2.5),
        plan_generator(recipe, store.path, None, memory=2.5),
    ):
        assert lines[-2].startswith("memory: ")
        assert "activations of 4 images" in lines[-2]
        assert lines[-1].startswith("the GPU has 2.50 GiB: micro-batches of up to ")
    assert "bfloat16" not in plan_autoencoder(recipe)[-2] or torch.cuda.is_available()


def test_processes_and_micro_batches_divide_the_batch(tmp_path: Path) -> None:
    """Four images in two processes, by two micro-batches: one each."""
    store, recipe = make_store(tmp_path / "tokens.vgs", rows=10), tiny_recipe()
    train = replace(recipe.generator.train, accumulate=2)
    recipe = replace(recipe, generator=replace(recipe.generator, train=train))
    lines = plan_generator(recipe, store.path, None, processes=2)
    assert "activations of 1 images" in lines[-2]


@pytest.mark.parametrize(("over", "sharing"), [("auto", 8), ("node", 8), ("all", 16)])
def test_what_is_sharded_is_shared_by_a_node_or_by_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, over: str, sharing: int
) -> None:
    """Sixteen processes, eight of them on a node."""
    monkeypatch.setattr("nvg.training.memory.gib", "{:.0f}".format)  # bytes
    store, recipe = make_store(tmp_path / "tokens.vgs", rows=32), tiny_recipe()
    train = replace(recipe.generator.train, batch_size=16)
    lines = {}
    for sharded in (False, True):
        own = replace(train, sharded=sharded, shard_over=ShardOver(over))
        generator = replace(recipe.generator, train=own)
        said = plan_generator(tiny_recipe(generator=generator), store.path, None, processes=16)
        found = re.search(r"parameters (\d+)", said[-2])
        assert found
        lines[sharded] = int(found[1])
    assert lines[True] == lines[False] // sharing


def test_processes_divide_the_autoencoders_batch(tmp_path: Path) -> None:
    """Four images in two processes: two each."""
    recipe = recipe_over(tmp_path)
    assert "activations of 2 images" in plan_autoencoder(recipe, 2.5, 2)[-2]
