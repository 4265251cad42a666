"""Several processes: DDP and FSDP2 against one process, another number of them, and Ray Train."""

import shutil
from pathlib import Path

import pytest
import torch

from nvg.distributed import World, full_tensor, joined, reshard_like
from nvg.errors import InputError
from nvg.store import Store
from tests.nvg.training.makers import require_same, training_case
from tests.processes import run_verb

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """Forty rows, and recipe.toml for eight steps."""
    return training_case(tmp_path)


def train(folder: Path, name: str, processes: int, *flags: str) -> None:
    """`nvgctl train generator`, under torchrun for more than one process."""
    verb = ["train", "generator", folder / "recipe.toml", "--store", folder / "store.vgs"]
    run_verb(processes, *verb, "--out", folder / name, *flags)


@pytest.mark.slow
def test_two_processes_train_as_one(store: Store, tmp_path: Path) -> None:
    """DDP and FSDP2 with two processes equal one process with the same two micro-batches."""
    train(tmp_path, "one", 1, "--set", "generator.train.accumulate=2")
    train(tmp_path, "ddp", 2)
    require_same(tmp_path, "one", "ddp")
    train(tmp_path, "fsdp", 2, "--set", "generator.train.sharded=true")
    require_same(tmp_path, "one", "fsdp")
    recomputing = ("--set", "generator.train.checkpoint_activations=true")
    train(tmp_path, "less", 2, "--set", "generator.train.sharded=true", *recomputing)
    require_same(tmp_path, "one", "less")


@pytest.mark.slow
@pytest.mark.parametrize("sharded", [False, True])
@pytest.mark.parametrize(("first", "then"), [((2, 1), (1, 2)), ((1, 2), (2, 1))])
def test_a_run_goes_on_with_another_number_of_processes(
    store: Store, tmp_path: Path, first: tuple[int, int], then: tuple[int, int], sharded: bool
) -> None:
    """(processes, micro-batches): the second half of the steps equals that of one process."""
    train(tmp_path, "one", 1, "--set", "generator.train.accumulate=2")
    kind = ("--set", f"generator.train.sharded={str(sharded).lower()}")
    accumulate = (f"generator.train.accumulate={count}" for _, count in (first, then))
    train(tmp_path, "moved", first[0], *kind, "--set", next(accumulate))
    shutil.rmtree(tmp_path / "moved" / "checkpoints" / "step-00000008")
    train(tmp_path, "moved", then[0], "--resume", *kind, "--set", next(accumulate))
    require_same(tmp_path, "one", "moved")


def test_one_process_is_a_world_of_its_own() -> None:
    """No process group is made, and questions answer themselves."""
    with joined() as world:
        assert (world.rank, world.size, world.is_main) == (0, 1, True)
        assert world.any(True)
        assert not world.any(False)
        assert world.mean({"loss": 2.0}) == {"loss": 2.0}
        world.wait()
    assert not torch.distributed.is_initialized()
    assert World(1, 2, torch.device("cpu")).is_main is False


def test_plain_tensors_stay_as_they_are() -> None:
    """Only sharded ones are gathered or resharded."""
    tensor = torch.arange(3)
    assert full_tensor(tensor) is tensor
    assert reshard_like(tensor, torch.zeros(3)) is tensor


def test_leftovers_of_a_launcher_are_named(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """What is missing is refused at once; else it is said who is waited for."""
    caplog.set_level("INFO", logger="nvg")
    monkeypatch.delenv("TORCHELASTIC_RUN_ID", raising=False)
    for name in ("RANK", "MASTER_ADDR", "MASTER_PORT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(InputError, match=r"WORLD_SIZE=2 .* MASTER_ADDR, MASTER_PORT: unset"):
        joined().__enter__()
    for name, value in (("RANK", "0"), ("MASTER_ADDR", "here"), ("MASTER_PORT", "1")):
        monkeypatch.setenv(name, value)
    monkeypatch.setattr("nvg.distributed._enter", lambda _backend: None)
    monkeypatch.setattr("torch.distributed.destroy_process_group", lambda: None)
    with joined() as world:
        assert world.size == 1  # nobody was joined: the group is a stand-in
    assert "process 0 of 2 (WORLD_SIZE) waits for the others at here:1" in caplog.text
