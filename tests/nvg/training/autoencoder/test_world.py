"""Two processes train the autoencoder as one does with two micro-batches, every loss included."""

import shutil
from pathlib import Path

import pytest
import torch

from nvg.pretrained import lpips
from tests.nvg.training.makers import lines_of, require_same_autoencoder
from tests.processes import outputs, start_processes

pytestmark = pytest.mark.slow
CASE = "tests.nvg.training.autoencoder.world_case"


@pytest.fixture(scope="module")
def vgg(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The untrained VGG16 of LPIPS, which takes each process seconds to draw."""
    path = tmp_path_factory.mktemp("vgg") / "lpips.pt"
    torch.save(lpips._untrained(), path)
    return path


def train(
    out: Path, kind: str, networks: tuple[Path, Path], processes: int, resume: bool = False
) -> None:
    """The case in so many processes, of two micro-batches together."""
    named = str(out), kind, *map(str, networks), str(2 // processes), "resume" if resume else "new"
    outputs(start_processes(processes, CASE, *named))


def cut_after(out: Path, step: int) -> None:
    """Take the run back to a checkpoint."""
    for path in (out / "checkpoints").iterdir():
        if int(path.name.removeprefix("step-")) > step:
            shutil.rmtree(path)


@pytest.mark.parametrize("kind", ["patch", "dino"])
def test_two_processes_train_as_one(
    tmp_path: Path, vit_weights: Path, vgg: Path, kind: str
) -> None:
    """Of one run; and of one that goes on with one process after four steps, with two after six."""
    networks = vit_weights, vgg
    one, two, moved = (tmp_path / name for name in ("one", "two", "moved"))
    train(one, kind, networks, 1)
    train(two, kind, networks, 2)
    require_same_autoencoder(one, two)
    looks = [
        [line["probe"] for line in lines_of(run / "metrics.jsonl") if "probe" in line]
        for run in (one, two)
    ]
    assert len(looks[0]) == len(looks[1]) == 2
    for look, same in zip(*looks, strict=True):
        assert look["psnr"] == pytest.approx(same["psnr"], abs=1e-4)
    shutil.copytree(two, moved)
    cut_after(moved, 4)
    train(moved, kind, networks, 1, resume=True)
    cut_after(moved, 6)
    train(moved, kind, networks, 2, resume=True)
    require_same_autoencoder(one, moved)
