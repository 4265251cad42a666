"""Signals: the first is a request, a second ends the process; what nohup ignores stays ignored."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from threading import Thread

import pytest
import torch

from nvg.errors import Stopped
from nvg.training.autoencoder.config import AutoencoderTraining
from nvg.training.loop import train_loop
from nvg.training.run_dir import Run
from nvg.training.stop import SIGNALS, signals_stop, stop_requests
from tests.makers import tiny_recipe
from tests.nvg.training.makers import DECISIVE, Counting, lines_of

ROOT = Path(__file__).resolve().parents[3]

HELD = """
import signal, sys, time
from nvg.training.stop import stop_requests
signal.signal(signal.SIGHUP, signal.SIG_IGN)
with stop_requests() as asked:
    print("ready", flush=True)
    while not asked():
        time.sleep(0.01)
    print(asked(), flush=True)
    time.sleep(60)
"""


class Stopping(Counting):
    """Sends the process a signal in the step before `upto` are done."""

    def step(self, number: int, batch: int) -> dict[str, torch.Tensor]:
        if number + 1 == self.upto:
            os.kill(os.getpid(), signal.SIGTERM)
        self.drawn.append(float(torch.rand(())))
        return {"value": torch.tensor(float(number))}


def started(**environment: str) -> "subprocess.Popen[str]":
    """A process that has a request and goes on for a minute."""
    process = subprocess.Popen(
        [sys.executable, "-c", HELD],
        cwd=ROOT,
        env=os.environ | environment,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout
    assert process.stdout.readline() == "ready\n"
    process.send_signal(signal.SIGHUP)
    process.send_signal(signal.SIGTERM)
    assert process.stdout.readline() == f"{int(signal.SIGTERM)}\n"
    return process


@pytest.mark.parametrize("sent", SIGNALS)
def test_a_request_is_asked_for(sent: int) -> None:
    """The number of the signal; the handlers are those of before when it is over."""
    before = [signal.getsignal(each) for each in SIGNALS]
    with stop_requests() as asked:
        assert asked() == 0
        os.kill(os.getpid(), sent)
        assert asked() == sent
    assert [signal.getsignal(each) for each in SIGNALS] == before


@pytest.mark.parametrize("sent", SIGNALS)
def test_a_signal_raises_where_nothing_asks(sent: int) -> None:
    """With the exit code that shells give it."""

    def be_told() -> None:
        with signals_stop():
            os.kill(os.getpid(), sent)
            time.sleep(5)

    with pytest.raises(Stopped, match=signal.Signals(sent).name) as raised:
        be_told()
    assert raised.value.code == 128 + sent


def test_a_thread_hears_no_signal() -> None:
    """Only the main thread can; the others are never told."""
    found: list[int] = []

    def ask() -> None:
        with stop_requests() as asked:
            found.append(asked())

    thread = Thread(target=ask)
    thread.start()
    thread.join()
    assert found == [0]


def test_a_second_signal_ends_the_process_at_once() -> None:
    """By itself, whichever it is; one that is ignored from the start is no request."""
    with started() as process:
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == -signal.SIGINT


def test_torchrun_passes_on_what_its_processes_got_too() -> None:
    """The same signal again within seconds is no second one."""
    with started(TORCHELASTIC_RUN_ID="none") as process:
        process.send_signal(signal.SIGTERM)
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(1)
        process.kill()


@pytest.mark.parametrize("upto", [4, 5, 6, 10])
def test_what_is_due_when_a_run_stops_is_done_when_it_goes_on(tmp_path: Path, upto: int) -> None:
    """Held-out losses and pictures wait, so that a checkpoint is all that is written at the end."""
    losses = {4: 3.0, 5: 1.0, 10: 2.0}
    config = AutoencoderTraining(steps=10, seed=3, log_every=3, checkpoint_every=4, keep=3)
    stopped, again, whole = Stopping(upto, losses), Counting(None, losses), Counting(None, losses)
    run = Run(tmp_path / "run", tiny_recipe(), False, DECISIVE)
    with pytest.raises(Stopped, match=f"SIGTERM; step {upto} is saved"):
        train_loop(run, config, 0, iter(range(10)), stopped, "test")
    assert run.start_step() == upto
    assert upto not in (stopped.measured, *stopped.shown)
    train_loop(run, config, upto, iter(range(upto, 10)), again, "test")
    other = Run(tmp_path / "whole", tiny_recipe(), False, DECISIVE)
    train_loop(other, config, 0, iter(range(10)), whole, "test")
    assert stopped.drawn + again.drawn == whole.drawn
    assert stopped.shown + again.shown == whole.shown == [4, 8, 10]
    assert again.measured == 10
    assert lines_of(run.metrics_path) == lines_of(other.metrics_path)
    for step in set(run.checkpoints.steps()) & set(other.checkpoints.steps()):
        assert run.checkpoints.state(step) == other.checkpoints.state(step)
