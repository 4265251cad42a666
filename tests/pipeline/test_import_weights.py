"""`import-weights`: published files become ordinary runs; what does not fit leaves nothing."""

import errno
import shutil
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

from cli.app import app
from nvg.errors import InputError
from nvg.generator.config import GeneratorKind, GeneratorShape
from nvg.store import open_store
from nvg.tokenizer.autoencoder import load_autoencoder
from nvg.training.run_dir import RunError
from nvg.weights import CheckpointError, fingerprint, read_config
from pipeline.import_weights import Project, write_run
from pipeline.ray_train import fit_on_ray
from pipeline.recipe import load_recipe
from pipeline.sampling.options import SampleOptions
from pipeline.sampling.sample import write_samples
from pipeline.tokenize.dataset import tokenize_dataset
from pipeline.train import fit_generator
from pipeline.train_plan import plan_generator
from tests.makers import write_image_folder
from tests.nvg.makers import release_autoencoder, release_generators
from tests.nvg.store.makers import make_store

pytestmark = pytest.mark.thorough


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a checkpoint of each kind."""
    path = tmp_path_factory.mktemp("files")
    torch.save({"state_dict": release_autoencoder()}, path / "ae.ckpt")
    torch.save({"state_dict": release_generators()}, path / "d2.ckpt")
    torch.save({"state_dict": release_generators(with_autoencoder=False)}, path / "alone.ckpt")
    return path


@pytest.fixture(scope="module")
def run(files: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run directory of the generators."""
    path = tmp_path_factory.mktemp("runs") / "d2"
    line = write_run(files / "d2.ckpt", Project.NVG, path, None)
    assert "d2, 10 classes, 4 sets of weights" in line
    return path


def test_an_imported_run_samples(run: Path, tmp_path: Path) -> None:
    """By the verb, with the release's settings, in the run's own recipe."""
    arguments = ["sample", str(run), "--label", "3", "-n", "1", "--png"]
    settings = ["--set", "sample.flow_steps=2"]
    done = CliRunner().invoke(app, [*arguments, str(tmp_path / "a.png"), *settings])
    assert done.exit_code == 0, done.output
    assert (tmp_path / "a.png").exists()


def test_an_imported_run_tokenizes_and_is_trained_on(run: Path, tmp_path: Path) -> None:
    """A store by its autoencoder verifies and has its child order; training keeps the scales."""
    write_image_folder(tmp_path / "images", [str(n) for n in range(10)], per_class=1, size=256)
    settings = [
        f'data.path="{tmp_path / "images"}"',
        "generator.train.steps=1",
        "generator.train.batch_size=2",
    ]
    recipe, store = load_recipe(run / "config.toml", settings), str(tmp_path / "tokens.vgs")
    tokenize_dataset(recipe, run / "autoencoder", store)
    opened = open_store(store)
    assert opened.verify() == []
    assert opened.manifest.child_order == "merging"
    fit_generator(recipe, store, tmp_path / "new", None, False, run)
    before, after = (
        read_config(GeneratorShape, path / "content.safetensors")
        for path in (run, tmp_path / "new")
    )
    assert before.canvas_rms == after.canvas_rms
    assert after == before

    shutil.rmtree(tmp_path / "new" / "checkpoints")
    with pytest.raises(RunError, match="holds finished weights and no checkpoint"):
        fit_generator(recipe, store, tmp_path / "new", None, True)
    (tmp_path / "new" / "content.safetensors").unlink()
    (tmp_path / "new" / "structure.safetensors").unlink()
    fit_generator(recipe, store, tmp_path / "new", None, True)  # goes on from the same weights
    again = read_config(GeneratorShape, tmp_path / "new" / "content.safetensors")
    assert again == before

    other = load_recipe(run / "config.toml", [*settings, "generator.content.depth=1"])
    scales = load_recipe(
        run / "config.toml", [*settings, "generator.variant.canvas_scale=codebook"]
    )
    foreign = make_store(tmp_path / "foreign.vgs", rows=4, grid=16).path
    for wrong, tokens, start, words in (
        (other, store, run, r"content-ema\.safetensors cannot be trained on .* transformer differ"),
        (scales, store, run, r"content-ema\.safetensors cannot be trained on .* variant differ"),
        (recipe, foreign, run, "was trained on tokens of another tokenizer"),
        (recipe, store, tmp_path / "none", r"holds no content\.safetensors"),
    ):
        with pytest.raises(RunError, match=words):
            fit_generator(wrong, tokens, tmp_path / "other", None, False, start)
        assert not (tmp_path / "other").exists()
        with pytest.raises(RunError, match=words):
            plan_generator(wrong, tokens, None, start)
        with pytest.raises(RunError, match=words):  # before Ray is asked for anything
            fit_on_ray(wrong, tokens, tmp_path / "other", None, False, 1, None, start)
        assert not (tmp_path / "other").exists()


def test_an_import_that_fails_half_way_leaves_nothing(
    files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The disk is full at the last file; the same call succeeds when it is not."""

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("pipeline.import_weights.dump", full)
        with pytest.raises(InputError, match="out cannot be written: No space left on device"):
            write_run(files / "d2.ckpt", Project.NVG, tmp_path / "out", None)
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot be written"):
        write_run(files / "ae.ckpt", Project.NVG, tmp_path / "file" / "out", None)
    (tmp_path / "out").mkdir()
    write_run(files / "d2.ckpt", Project.NVG, tmp_path / "out", None)
    assert (tmp_path / "out" / "config.toml").exists()


def test_a_run_named_for_another_use_says_so(files: Path, run: Path, tmp_path: Path) -> None:
    """An autoencoder to sample; generators as a tokenizer are the one they have with them."""
    assert fingerprint(load_autoencoder(run)) == fingerprint(load_autoencoder(run / "autoencoder"))
    write_run(files / "ae.ckpt", Project.NVG, tmp_path / "ae", None)
    with pytest.raises(InputError, match="is an autoencoder: name a run of generators"):
        write_samples(tmp_path / "ae", SampleOptions(png=tmp_path / "a.png"))


def test_generators_without_an_autoencoder_take_one(files: Path, tmp_path: Path) -> None:
    """By --tokenizer; the same run as from a file that holds both."""
    write_run(files / "ae.ckpt", Project.NVG, tmp_path / "ae", None)
    write_run(files / "alone.ckpt", Project.NVG, tmp_path / "a", tmp_path / "ae")
    write_run(files / "d2.ckpt", Project.NVG, tmp_path / "b", None)
    for part in GeneratorKind:
        a, b = (tmp_path / name / f"{part.value}.safetensors" for name in "ab")
        assert a.read_bytes() == b.read_bytes()


def test_what_does_not_fit_leaves_nothing(files: Path, tmp_path: Path) -> None:
    """Another project's file, a tokenizer for an autoencoder, no tokenizer, an existing run."""
    for name, project, tokenizer, words in (
        ("ae.ckpt", Project.VAR, None, "is not VAR's tokenizer"),
        ("ae.ckpt", Project.NVG, files, "--tokenizer is for generators"),
        ("d2.ckpt", Project.VAR, files, "--tokenizer is for generators"),
        ("alone.ckpt", Project.NVG, None, "name an imported one by --tokenizer"),
        ("alone.ckpt", Project.NVG, files / "alone.ckpt", "is not a safetensors file"),
        ("none.ckpt", Project.NVG, None, "cannot be read: No such file"),
    ):
        with pytest.raises(InputError, match=words):
            write_run(files / name, project, tmp_path / "out", tokenizer)
        assert not (tmp_path / "out").exists()
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine").write_text("kept")
    with pytest.raises(CheckpointError, match="exists: choose another --out"):
        write_run(files / "ae.ckpt", Project.NVG, tmp_path / "out", None)
