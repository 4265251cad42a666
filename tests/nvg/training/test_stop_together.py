"""A signal with two processes: all stop after the same step, which is saved."""

import signal
from pathlib import Path

import pytest
import torch

from nvg.distributed import World
from nvg.errors import Stopped
from nvg.training.autoencoder.config import AutoencoderTraining
from nvg.training.checkpoint import Checkpoints
from nvg.training.loop import train_loop
from nvg.training.run_dir import Run
from tests.makers import tiny_recipe
from tests.nvg.training.stop_case import Slow
from tests.processes import outputs, start_processes

ASKED: list[list[int]] = []


class Asked(World):
    """A world of two processes of which the other, when asked a fourth time, was told to stop.

    Its steps take `milliseconds`.
    """

    milliseconds = 1

    def highest(self, values: list[int]) -> list[int]:
        ASKED.append(values)
        return [int(signal.SIGTERM) * (len(ASKED) == 4), self.milliseconds]

    def mean(self, values: dict[str, float]) -> dict[str, float]:
        return values

    def wait(self) -> None:
        pass


@pytest.mark.parametrize(("milliseconds", "last"), [(1, 24), (2000, 7), (60_000, 4)])
def test_processes_agree_every_few_steps_or_seconds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, milliseconds: int, last: int
) -> None:
    """After the first step, at checkpoints, and after ten steps or five seconds beyond."""
    monkeypatch.setattr(Asked, "milliseconds", milliseconds)
    ASKED.clear()
    run = Run(tmp_path, tiny_recipe(), False, ("autoencoder",))
    config = AutoencoderTraining(steps=30, log_every=3, checkpoint_every=8, keep=3)
    task = Slow()
    with pytest.raises(Stopped) as raised:
        train_loop(run, config, 0, iter(range(30)), task, "", Asked(0, 2, torch.device("cpu")))
    assert raised.value.number == signal.SIGTERM
    assert f"step {last} is saved" in str(raised.value)
    assert task.done == last
    assert run.checkpoints.steps()[-1] == last
    assert [flag for flag, _ in ASKED] == [0] * 4


@pytest.mark.slow
@pytest.mark.parametrize("told", [(0,), (1,), (0, 1)])
def test_one_that_is_told_stops_both(tmp_path: Path, told: tuple[int, ...]) -> None:
    """Whichever gets the signal; the checkpoint is that of the step they agreed at."""
    started = start_processes(2, "tests.nvg.training.stop_case", tmp_path / "run")
    for process in started:
        process.wait_for("started\n")
    for rank in told:
        started[rank].send_signal(signal.SIGINT)
    first, second = (text.split()[-1] for text in outputs(started))
    assert first == second
    assert Checkpoints(tmp_path / "run" / "checkpoints").steps() == [int(first)]
