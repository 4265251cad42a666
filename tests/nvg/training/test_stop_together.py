"""Ctrl-C with two processes: all stop after the same step, which is saved."""

import signal
from pathlib import Path

import pytest
import torch

from nvg.distributed import World
from nvg.training.autoencoder.config import AutoencoderTraining
from nvg.training.checkpoint import Checkpoints
from nvg.training.loop import AGREE_EVERY, train_loop
from nvg.training.run_dir import Run
from tests.makers import tiny_recipe
from tests.nvg.training.stop_case import Slow
from tests.processes import outputs, start_processes

ASKED: list[bool] = []


class Asked(World):
    """A world of two processes of which the other wants to stop when it is asked a third time."""

    def any(self, flag: bool) -> bool:
        ASKED.append(flag)
        return len(ASKED) == 3

    def mean(self, values: dict[str, float]) -> dict[str, float]:
        return values

    def wait(self) -> None:
        pass


def test_processes_agree_every_few_steps(tmp_path: Path) -> None:
    """At checkpoints and every tenth step: 4, 8, 10; there the run is saved and stops."""
    run = Run(tmp_path, tiny_recipe(), False, ("autoencoder",))
    config = AutoencoderTraining(steps=30, log_every=3, checkpoint_every=4, keep=3)
    task = Slow()
    with pytest.raises(KeyboardInterrupt):
        train_loop(run, config, 0, iter(range(30)), task, "", Asked(0, 2, torch.device("cpu")))
    assert task.done == 10
    assert run.checkpoints.steps() == [4, 8, 10]
    assert ASKED == [False] * 3


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
    assert int(first) % AGREE_EVERY == 0
    assert Checkpoints(tmp_path / "run" / "checkpoints").steps() == [int(first)]
