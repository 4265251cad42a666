"""Training in the processes of a Ray cluster: as one process would, also when one of them dies."""

import signal
import threading
import time
from dataclasses import replace
from pathlib import Path

import psutil
import pytest
import torch

from nvg.config import load
from nvg.errors import InputError
from nvg.seeding import step_rows
from nvg.store import Store
from pipeline.cluster import NOTES, REFUSED
from pipeline.ray_train import fit_autoencoder_on_ray, fit_on_ray, generator_worker
from pipeline.recipe import Recipe
from pipeline.train import fit_autoencoder, fit_generator
from tests.makers import recipe_over
from tests.nvg.training.makers import (
    require_same,
    require_same_autoencoder,
    training_case,
)

pytestmark = [
    pytest.mark.slow,
    pytest.mark.ray,
    pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::UserWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """Forty rows, and recipe.toml for eight steps."""
    return training_case(tmp_path)


def kill_one_when(path: Path, killed: list[int]) -> threading.Thread:
    """kill -9 one training process once a file is there."""

    def wait() -> None:
        while not path.exists():
            time.sleep(0.02)
        for process in psutil.Process().children(recursive=True):
            try:
                if "RayTrainWorker" in process.cmdline()[0]:
                    process.kill()
                    killed.append(process.pid)
                    return
            except (psutil.Error, IndexError):
                continue

    thread = threading.Thread(target=wait)
    thread.start()
    return thread


@pytest.mark.usefixtures("store")
def test_two_workers_train_as_one_process_though_one_is_killed(tmp_path: Path) -> None:
    """The losses of all steps and the weights are those of one process with two micro-batches."""
    recipe = load(Recipe, tmp_path / "recipe.toml", ["generator.train.checkpoint_every=1"])
    split = replace(recipe.generator.train, accumulate=2)
    alone = replace(recipe, generator=replace(recipe.generator, train=split))
    stored = str(tmp_path / "store.vgs")
    torch.set_num_threads(1)
    fit_generator(alone, stored, tmp_path / "one", None, False)
    killed: list[int] = []
    out = tmp_path / "ray"
    thread = kill_one_when(out / "checkpoints" / "step-00000002", killed)
    ctrl_c = signal.getsignal(signal.SIGINT)
    lines = fit_on_ray(recipe, stored, out, None, False, 2, None)
    thread.join()
    assert signal.getsignal(signal.SIGINT) is ctrl_c
    assert len(killed) == 1
    assert lines[0].endswith("by 2 workers")
    require_same(tmp_path, "one", "ray")
    assert not (out / "ray").exists()


@pytest.mark.usefixtures("store")
def test_what_a_worker_says_arrives(tmp_path: Path) -> None:
    """A batch that does not divide is refused in its own words; a dead address before anything."""
    recipe = load(Recipe, tmp_path / "recipe.toml", ["generator.train.batch_size=9"])
    stored = str(tmp_path / "store.vgs")
    with pytest.raises(InputError, match="no Ray cluster answers at 127"):
        fit_on_ray(recipe, stored, tmp_path / "a", None, False, 2, "127.0.0.1:1")
    assert not (tmp_path / "a").exists()
    with pytest.raises(InputError, match="batch_size 9 is not a multiple of 2 processes"):
        fit_on_ray(recipe, stored, tmp_path / "b", None, False, 2, None)


@pytest.mark.usefixtures("store")
def test_what_a_worker_is_refused_is_written_down(tmp_path: Path) -> None:
    """For the driver; Ray starts a worker again because of it, which finds it and ends."""
    recipe = load(Recipe, tmp_path / "recipe.toml", ["generator.train.batch_size=41"])
    out, store = tmp_path / "run", str(tmp_path / "store.vgs")
    (out / NOTES).mkdir(parents=True)
    job = {"recipe": recipe, "resume": False, "start_from": None, "out": str(out)}
    job |= {"folder": str(tmp_path), "store": store, "only": None}
    with pytest.raises(InputError) as caught:
        generator_worker(job)
    assert (out / NOTES / REFUSED).read_text() == str(caught.value)
    generator_worker(job)
    assert not (out / "checkpoints").exists()


def autoencoder_case(folder: Path) -> Recipe:
    """Eight steps over twelve images, a checkpoint after each."""
    recipe = recipe_over(folder)
    train = replace(recipe.autoencoder.train, steps=8, log_every=1, checkpoint_every=1, keep=8)
    return replace(recipe, autoencoder=replace(recipe.autoencoder, train=train))


def test_two_workers_train_an_autoencoder_though_one_is_killed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As one process with two micro-batches; the recipe's path is relative to this folder."""
    recipe = autoencoder_case(tmp_path)
    halves = replace(recipe.autoencoder.train, accumulate=2)
    torch.set_num_threads(1)
    alone = replace(recipe, autoencoder=replace(recipe.autoencoder, train=halves))
    fit_autoencoder(alone, tmp_path / "one", False)
    monkeypatch.chdir(tmp_path)
    here = replace(recipe, data=replace(recipe.data, path="images"))
    killed: list[int] = []
    out = Path("ray")
    thread = kill_one_when(tmp_path / out / "checkpoints" / "step-00000002", killed)
    (line,) = fit_autoencoder_on_ray(here, out, False, 2, None)
    thread.join()
    assert len(killed) == 1
    assert line == "ray/autoencoder.safetensors: trained by 2 workers"
    require_same_autoencoder(tmp_path / "one", tmp_path / "ray")
    assert not (out / "ray").exists()


def test_what_one_worker_alone_cannot_read_is_said(tmp_path: Path) -> None:
    """The first one's images of a step are unreadable: it ends the run, with rank and machine."""
    recipe = autoencoder_case(tmp_path)
    train = replace(recipe.autoencoder.train, batch_size=12)
    rows = step_rows(12, 12, train.seed, 0)[:6]
    keys = sorted(path for path in (tmp_path / "images").rglob("*.*"))
    for row in rows:
        keys[row].write_bytes(b"not an image")
    whole = replace(recipe, autoencoder=replace(recipe.autoencoder, train=train))
    wanted = r"rank 0 of 2 on \S+: no readable image in a whole batch"
    with pytest.raises(InputError, match=wanted):
        fit_autoencoder_on_ray(whole, tmp_path / "run", False, 2, None)
