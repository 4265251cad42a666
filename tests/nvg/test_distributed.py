"""Several processes: DDP and FSDP2 against one process, another number of them, and Ray Train."""

import shutil
import socket
import time
from pathlib import Path
from typing import Any

import pytest
import torch

from nvg.distributed import MINUTES_NAME, World, full_tensor, joined, reshard_like, timeout
from nvg.errors import ElsewhereError, InputError, WorkError
from tests.nvg.training.makers import require_same, training_case
from tests.processes import run_verb

ROOT = Path(__file__).resolve().parents[2]


def train(folder: Path, name: str, processes: int, *flags: str) -> None:
    """`nvgctl train generator`, under torchrun for more than one process."""
    verb = ["train", "generator", folder / "recipe.toml", "--store", folder / "store.vgs"]
    run_verb(processes, *verb, "--out", folder / name, *flags)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Forty rows, recipe.toml for eight steps, and `one`: what one process makes of them."""
    folder = tmp_path_factory.mktemp("whole")
    training_case(folder)
    train(folder, "one", 1, "--set", "generator.train.accumulate=2")
    return folder


@pytest.fixture
def case(whole: Path, tmp_path: Path) -> Path:
    """A copy."""
    return shutil.copytree(whole, tmp_path / "case")


@pytest.mark.slow
def test_two_processes_train_as_one(case: Path) -> None:
    """DDP and FSDP2 with two processes equal one process with the same two micro-batches."""
    train(case, "ddp", 2)
    require_same(case, "one", "ddp")
    train(case, "fsdp", 2, "--set", "generator.train.sharded=true")
    require_same(case, "one", "fsdp")
    recomputing = ("--set", "generator.train.checkpoint_activations=true")
    train(case, "less", 2, "--set", "generator.train.sharded=true", *recomputing)
    require_same(case, "one", "less")


@pytest.mark.slow
@pytest.mark.parametrize("sharded", [False, True])
@pytest.mark.parametrize(("first", "then"), [((2, 1), (1, 2)), ((1, 2), (2, 1))])
def test_a_run_goes_on_with_another_number_of_processes(
    case: Path, first: tuple[int, int], then: tuple[int, int], sharded: bool
) -> None:
    """(processes, micro-batches): the second half of the steps equals that of one process."""
    kind = ("--set", f"generator.train.sharded={str(sharded).lower()}")
    accumulate = (f"generator.train.accumulate={count}" for _, count in (first, then))
    train(case, "moved", first[0], *kind, "--set", next(accumulate))
    shutil.rmtree(case / "moved" / "checkpoints" / "step-00000008")
    train(case, "moved", then[0], "--resume", *kind, "--set", next(accumulate))
    require_same(case, "one", "moved")


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


def failing(rank: int, error: Exception | None, others: list[Any]) -> None:
    """What rank `rank` of three raises, where the others tell what is in their places."""

    class Told(World):
        def gather(self, value: Any) -> list[Any]:
            return [*others[:rank], value, *others[rank:]]

    with Told(rank, 3, torch.device("cpu")).agreed():
        if error:
            raise error


def test_an_error_of_one_process_ends_all_and_is_told_once() -> None:
    """The first that has one raises it; the others end with its exit code and its words."""
    failing(0, None, [None, None])
    with pytest.raises(WorkError, match="disk"):
        failing(1, WorkError("disk"), [None, None])
    with pytest.raises(WorkError, match="disk"):
        failing(0, WorkError("disk"), [("lock", 2), None])
    for rank, error in ((2, None), (2, InputError("lock")), (0, None)):
        with pytest.raises(ElsewhereError, match="lock") as caught:
            failing(rank, error, [None, ("lock", 2)])
        assert caught.value.code == 2
    with pytest.raises(KeyError):  # no error of the input: nothing is asked of others
        failing(0, KeyError("bug"), [("lock", 2), None])


def test_one_process_has_its_own_errors() -> None:
    """As they are."""
    with pytest.raises(InputError, match="no store"), World(0, 1, torch.device("cpu")).agreed():
        raise InputError("no store")


@pytest.mark.parametrize("text", ["0", "-3", "soon", "nan", "1e99"])
def test_the_time_to_wait_is_read_strictly(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    """Half an hour by default; otherwise minutes, and nothing that is no such time."""
    monkeypatch.delenv(MINUTES_NAME, raising=False)
    assert timeout().total_seconds() == 1800
    monkeypatch.setenv(MINUTES_NAME, "0.5")
    assert timeout().total_seconds() == 30
    monkeypatch.setenv(MINUTES_NAME, text)
    with pytest.raises(InputError, match=f"NVG_TIMEOUT_MINUTES must be .*, not {text}"):
        timeout()


@pytest.mark.parametrize(
    "line",
    [
        "[../gloo/transport/tcp/pair.cc:553] Connection closed by peer [127.0.0.1]:5",
        "[../gloo/transport/tcp/unbound_buffer.cc:81] Timed out waiting 1800000ms for recv",
        "NCCL Error 6: remote process exited or there was a network error",
    ],
)
def test_a_process_that_is_gone_is_told_in_one_line(
    monkeypatch: pytest.MonkeyPatch, line: str
) -> None:
    """What the library said stands at its end; other errors stay as they are."""
    with pytest.raises(RuntimeError, match=r"Connection|Timed|NCCL") as alone, joined():
        raise RuntimeError(line)
    assert not isinstance(alone.value, WorkError)  # it is not of another process
    monkeypatch.setenv(MINUTES_NAME, "2")
    for name, found in (("is_initialized", True), ("get_world_size", 2), ("get_rank", 1)):
        monkeypatch.setattr(torch.distributed, name, lambda found=found: found)
    with (
        pytest.raises(WorkError, match=r"within 2 minutes.*--resume \(") as caught,
        joined(),
    ):
        raise RuntimeError(f"{line}\nException raised from somewhere")
    assert str(caught.value).endswith(f"({line})")
    for error in (RuntimeError("shapes differ"), WorkError("NCCL of ours")):
        with pytest.raises(type(error), match=str(error)), joined():
            raise error


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


def test_left_over_variables_do_not_wait_for_long(monkeypatch: pytest.MonkeyPatch) -> None:
    """A whole set of them, and nobody else: one line that names them, soon."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    monkeypatch.delenv("TORCHELASTIC_RUN_ID", raising=False)
    given = {"WORLD_SIZE": "2", "RANK": "0", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr("nvg.distributed.JOIN_SECONDS", 1.0)
    began = time.monotonic()
    with pytest.raises(
        InputError, match=r"within 1 s \(WORLD_SIZE=2 RANK=0 MASTER_ADDR=.* MASTER_PORT=.*unset"
    ):
        joined().__enter__()
    assert time.monotonic() - began < 60
