"""Training in the processes of a Ray cluster: as one process would, also when one of them dies."""

import threading
import time
from dataclasses import replace
from pathlib import Path

import psutil
import pytest
import torch

from nvg.config import load
from nvg.errors import InputError
from nvg.store import Store
from pipeline.recipe import Recipe
from pipeline.train import fit_generator, fit_on_ray
from tests.nvg.training.makers import require_same, training_case

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
    lines = fit_on_ray(recipe, stored, out, None, False, 2, None)
    thread.join()
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
