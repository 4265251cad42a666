"""The training verbs' library side: what they plan, leave on disk and say."""

import re
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from nvg.choices import TrainingCrop
from nvg.config import dump, load
from nvg.errors import InputError
from nvg.format.base import StoreError
from nvg.sampling.generators import load_generators
from nvg.tokenizer.autoencoder import load_autoencoder
from nvg.weights import fingerprint
from pipeline.images import held
from pipeline.recipe import Recipe
from pipeline.sources import FolderSource
from pipeline.train import fit_autoencoder, fit_generator
from tests.makers import png_size, recipe_over, tiny_recipe
from tests.nvg.store.makers import empty_store, make_store
from tests.nvg.training.makers import differing, state_of


def test_an_autoencoder_run_leaves_weights_log_and_picture(tmp_path: Path) -> None:
    """The files of a run directory, and a line with the weights' fingerprint."""
    lines = fit_autoencoder(recipe_over(tmp_path), tmp_path / "run", False)
    names = {path.name for path in (tmp_path / "run").iterdir()}
    assert names == {
        "autoencoder.safetensors",
        "checkpoints",
        "config.toml",
        "metrics.jsonl",
        "reconstructions.png",
        "tensorboard",
    }
    identity = fingerprint(load_autoencoder(tmp_path / "run"))[:16]
    assert lines == [f"{tmp_path / 'run' / 'autoencoder.safetensors'}: tokenizer {identity}"]


@pytest.mark.parametrize(("heldout", "shown"), [(0, 12), (3, 3)])
def test_the_picture_shows_originals_over_reconstructions(
    tmp_path: Path, heldout: int, shown: int
) -> None:
    """Two rows of 64-pixel tiles: the held-out images, or those trained on."""
    fit_autoencoder(recipe_over(tmp_path, heldout), tmp_path / "run", False)
    size = png_size(tmp_path / "run" / "reconstructions.png")
    assert size == (8 + len("original") * 7 + shown * 68, 4 + 2 * 68)


@pytest.mark.thorough
def test_pictures_with_an_untrained_null_class_are_warned_of(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Once, at the start; a training that draws none is not."""
    store = make_store(tmp_path / "tokens.vgs", rows=10)
    recipe = recipe_over(tmp_path)
    for name, every in (("drawn", 4), ("none", 0)):
        train = replace(recipe.generator.train, class_dropout_prob=0.0, sample_every=every)
        untrained = replace(recipe, generator=replace(recipe.generator, train=train))
        caplog.clear()
        fit_generator(untrained, store.path, tmp_path / name, None, False)
        said = [each.message for each in caplog.records if "null class" in each.message]
        assert len(said) == bool(every)
        assert (tmp_path / name / "samples" / "step-00000004.png").exists() == bool(every)


def test_held_out_measures_are_said(tmp_path: Path) -> None:
    """Count, PSNR, MSE and codebook use, then the residual after each of the five stages."""
    lines = fit_autoencoder(recipe_over(tmp_path, 3), tmp_path / "run", False)
    assert any(re.search(r"held out \(3\): PSNR [\d.]+ dB, MSE [\d.]+, codebook", x) for x in lines)
    (residuals,) = (line for line in lines if line.startswith("latent residual"))
    assert len(re.findall(r"\d+\.\d{3}", residuals)) == 5


@pytest.mark.thorough
def test_a_run_on_random_crops_is_resumed_exactly(tmp_path: Path) -> None:
    """Cut at step 2 of 4 it ends in the same weights; centre crops end in others."""
    recipe = recipe_over(tmp_path)
    train = replace(recipe.autoencoder.train, crop=TrainingCrop.RANDOM, crop_resize=1.5)
    cropped = replace(recipe, autoencoder=replace(recipe.autoencoder, train=train))
    for name, each in (("center", recipe), ("whole", cropped)):
        fit_autoencoder(each, tmp_path / name, False)
    shutil.copytree(tmp_path / "whole", tmp_path / "cut")
    (tmp_path / "cut" / "autoencoder.safetensors").unlink()
    shutil.rmtree(tmp_path / "cut" / "checkpoints" / "step-00000004")
    fit_autoencoder(cropped, tmp_path / "cut", True)
    assert differing(state_of(tmp_path / "cut"), state_of(tmp_path / "whole")) == []
    assert differing(state_of(tmp_path / "center"), state_of(tmp_path / "whole"))
    with pytest.raises(InputError, match=r"autoencoder\.train\.crop"):
        fit_autoencoder(recipe, tmp_path / "whole", True)


def test_unreadable_images_are_skipped_and_said(tmp_path: Path) -> None:
    """Training goes on without them, and each is named once with its reason."""
    recipe = recipe_over(tmp_path)
    (tmp_path / "images" / "bee" / "000.png").write_bytes(b"not an image")
    (tmp_path / "images" / "cat" / "001.jpg").write_bytes(b"")
    lines = fit_autoencoder(recipe, tmp_path / "run", False)
    skipped = sorted(line for line in lines if line.startswith("skipped"))
    assert skipped == ["skipped bee/000.png: not an image", "skipped cat/001.jpg: empty file"]


def test_a_batch_without_any_image_stops_the_run(tmp_path: Path) -> None:
    """With nothing to learn from, the first bad file is named."""
    recipe = recipe_over(tmp_path)
    for path in (tmp_path / "images").rglob("*.*"):
        path.write_bytes(b"not an image")
    with pytest.raises(InputError, match=r"(ant|bee|cat)/00\d\.(png|jpg): not an image"):
        fit_autoencoder(recipe, tmp_path / "run", False)


def test_a_generator_run_leaves_all_that_sampling_needs(tmp_path: Path) -> None:
    """Weights of both, the decoder and the class names; a line per part."""
    store = make_store(tmp_path / "tokens.vgs", rows=10)
    lines = fit_generator(tiny_recipe(), store.path, tmp_path / "run", None, False)
    names = {path.name for path in (tmp_path / "run").iterdir()}
    assert names == {
        "checkpoints",
        "classes.json",
        "config.toml",
        "content-ema.safetensors",
        "content.safetensors",
        "detokenizer.safetensors",
        "metrics.jsonl",
        "structure-ema.safetensors",
        "structure.safetensors",
        "tensorboard",
    }
    assert [line.split(": ")[1] for line in lines] == [f"trained on {store.path}"] * 2


@pytest.mark.thorough
@pytest.mark.usefixtures("drawn_curves")
def test_heldout_losses_are_logged_drawn_and_summed_up(tmp_path: Path) -> None:
    """A line a generator at the end, curves.png in the run, every number in TensorBoard."""
    store = make_store(tmp_path / "tokens.vgs", rows=14, val=range(10, 14))
    lines = fit_generator(tiny_recipe(), store.path, tmp_path / "run", None, False)
    assert png_size(tmp_path / "run" / "curves.png")[0] > 500
    for part, line in zip(("content", "structure"), lines[2:], strict=True):
        assert re.fullmatch(rf"{part}: held-out loss [\d.]+, lowest [\d.]+ at step [24]", line)
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    board = EventAccumulator(str(tmp_path / "run" / "tensorboard"))
    board.Reload()
    names = board.Tags()["scalars"]
    assert {"heldout/val/content", "heldout/train/entropy/4", "heldout/val/bits"} <= set(names)
    assert [each.step for each in board.Scalars("heldout/val/structure")] == [2, 4]


def test_a_generator_run_does_not_need_the_store_any_more(tmp_path: Path) -> None:
    """The decoder of the run is byte for byte the store's."""
    store = make_store(tmp_path / "tokens.vgs", rows=10)
    fit_generator(tiny_recipe(), store.path, tmp_path / "run", None, False)
    saved = (tmp_path / "run" / "detokenizer.safetensors").read_bytes()
    assert saved == store.read("detokenizer.safetensors")


def test_an_unfinished_store_is_not_trained_on(tmp_path: Path) -> None:
    """The message names the store and the command that completes it; no run is begun."""
    store = empty_store(tmp_path / "tokens.vgs", rows=10)
    with pytest.raises(StoreError, match=r"tokens\.vgs is unfinished .*tokenize.*--resume"):
        fit_generator(tiny_recipe(), store.path, tmp_path / "run", None, False)
    assert not (tmp_path / "run").exists()


def test_two_runs_of_one_recipe_are_equal(tmp_path: Path) -> None:
    """The same seed and store give the same generators, bit for bit."""
    store = make_store(tmp_path / "tokens.vgs", rows=10)
    states = []
    for name in ("a", "b"):
        fit_generator(tiny_recipe(), store.path, tmp_path / name, None, False)
        states.append(load_generators(tmp_path / name).content.state_dict())
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])


def attempt(tmp_path: Path, setting: str) -> None:
    """Read the tiny recipe with one override and train what the override concerns."""
    dump(recipe_over(tmp_path), tmp_path / "recipe.toml")
    recipe = load(Recipe, tmp_path / "recipe.toml", [setting])
    if setting.startswith("generator"):
        store = make_store(tmp_path / "tokens.vgs", rows=10)
        fit_generator(recipe, store.path, tmp_path / "run", None, False)
    else:
        fit_autoencoder(recipe, tmp_path / "run", False)


@pytest.mark.parametrize(
    "setting",
    [
        "data.path=3",
        "data.source=web",
        "data.heldout=-1",
        "data.heldout=7",
        "autoencoder.model.colour=1",
        "autoencoder.model.image_size=9",
        "autoencoder.model.base_channels=0",
        "autoencoder.model.blocks=0",
        "autoencoder.model.latent_dim=0",
        "autoencoder.model.builder=magic",
        "autoencoder.model.dropout=1.5",
        "autoencoder.train.steps=many",
        "autoencoder.train.lr=-1.0",
        "autoencoder.train.betas=[0.9]",
        "autoencoder.train.batch_size=0",
        "autoencoder.train.log_every=0",
        "autoencoder.train.checkpoint_every=0",
        "autoencoder.train.seed=-1",
        "generator.content.width=true",
        "generator.content.heads=3",
        "generator.content.heads=0",
        "generator.content.dropout=2.0",
        "generator.train.batch_size=0",
        "generator.train.betas=[0.9]",
        "generator.train.log_every=0",
        "generator.train.class_dropout_prob=3.0",
        "tokenize.chunk_rows=0",
        "tokenize.views=[]",
        "sample.flow_steps=0",
        "sample.top_p=0.0",
    ],
)
def test_a_value_that_cannot_be_meant_is_refused_by_key(tmp_path: Path, setting: str) -> None:
    """Unknown, of the wrong type or out of range: an input error with the key's own name."""
    key = setting.split("=")[0].split(".")[-1]
    with pytest.raises(InputError, match=key):
        attempt(tmp_path, setting)


@pytest.mark.thorough
@pytest.mark.parametrize("name", ["model.safetensors", "optimizer.safetensors", "state.json"])
def test_a_damaged_checkpoint_is_named(tmp_path: Path, name: str) -> None:
    """A checkpoint that was cut off is refused by its path, as an input error."""
    recipe = recipe_over(tmp_path)
    fit_autoencoder(recipe, tmp_path / "run", False)
    newest = tmp_path / "run" / "checkpoints" / "step-00000004" / name
    newest.write_bytes(newest.read_bytes()[:-20])
    with pytest.raises(InputError, match=str(newest)):
        fit_autoencoder(recipe, tmp_path / "run", True)


def test_a_batch_larger_than_the_store_is_refused(tmp_path: Path) -> None:
    """Not a single batch could be made: an input error that says how many rows there are."""
    store = make_store(tmp_path / "tokens.vgs", rows=10)
    recipe = tiny_recipe()
    train = replace(recipe.generator.train, batch_size=100)
    recipe = replace(recipe, generator=replace(recipe.generator, train=train))
    with pytest.raises(InputError, match=r"batch_size 100 is more than the 10 images"):
        fit_generator(recipe, store.path, tmp_path / "run", None, False)


def test_a_start_that_failed_does_not_block_the_mended_one(tmp_path: Path) -> None:
    """Nothing is left of it; nor does a recipe that was never trained a step."""
    store = make_store(tmp_path / "tokens.vgs", rows=10)
    generator = tiny_recipe().generator
    large = replace(generator, train=replace(generator.train, batch_size=100))
    with pytest.raises(InputError, match="batch_size 100"):
        fit_generator(tiny_recipe(generator=large), store.path, tmp_path / "run", None, False)
    assert not (tmp_path / "run" / "config.toml").exists()
    (tmp_path / "run").mkdir(exist_ok=True)
    dump(tiny_recipe(generator=large), tmp_path / "run" / "config.toml")
    fit_generator(tiny_recipe(), store.path, tmp_path / "run", None, False)


def test_heads_that_cannot_hold_the_rotary_embedding_are_refused(tmp_path: Path) -> None:
    """64 channels in 8 heads leave none for the structure channels: an input error says so."""
    store = make_store(tmp_path / "tokens.vgs", rows=10)
    recipe = tiny_recipe()
    narrow = replace(recipe.generator, content=replace(recipe.generator.content, heads=8))
    with pytest.raises(InputError, match="head width 8"):
        fit_generator(replace(recipe, generator=narrow), store.path, tmp_path / "run", None, False)


@pytest.mark.thorough
@pytest.mark.parametrize("crop", list(TrainingCrop))
def test_images_of_a_whole_epoch_are_held(
    tmp_path: Path, crop: TrainingCrop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """4 steps of 4 read 12 images once; held or not, the weights are the same."""
    recipe = recipe_over(tmp_path)
    train = replace(recipe.autoencoder.train, crop=crop, crop_resize=1.5)
    recipe = replace(recipe, autoencoder=replace(recipe.autoencoder, train=train))
    asked, read = list[str](), FolderSource.read

    def note(source: FolderSource, keys: Sequence[str]) -> Iterator[bytes | OSError]:
        asked.extend(keys)
        return read(source, keys)

    monkeypatch.setattr(FolderSource, "read", note)
    fit_autoencoder(recipe, tmp_path / "held", False)
    # The picture at the end shows centre crops of all 12.
    assert len(asked) == (12 if crop is TrainingCrop.CENTER else 24)
    monkeypatch.setattr(held, "free_bytes", lambda: 0)
    fit_autoencoder(recipe, tmp_path / "read", False)
    assert differing(state_of(tmp_path / "held"), state_of(tmp_path / "read")) == []
