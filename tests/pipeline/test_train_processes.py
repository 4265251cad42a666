"""`nvgctl train autoencoder` under torchrun: as one process, also when one of them is killed."""

import re
import signal
import socket
import time
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from nvg.config import dump
from nvg.training.run_lock import run_lock
from pipeline.recipe import Recipe
from pipeline.train import fit_autoencoder
from tests.forks import fork_of
from tests.makers import recipe_over
from tests.nvg.training.makers import require_same_autoencoder
from tests.processes import Forked, start_processes

STEPS = 30  # enough to be killed in between


def many_steps(folder: Path) -> Recipe:
    """Twelve images, one of which cannot be read; a checkpoint at every second step."""
    recipe = recipe_over(folder)
    (folder / "images" / "bee" / "000.png").write_bytes(b"not an image")
    train = replace(recipe.autoencoder.train, steps=STEPS, log_every=1, dead_code_after=2)
    return replace(recipe, autoencoder=replace(recipe.autoencoder, train=train))


def torchrun(folder: Path, name: str, *flags: str) -> Forked:
    """The verb in two processes, started again together when one is lost."""
    launcher = ["--standalone", "--nproc-per-node=2", "--max-restarts=1", "--monitor-interval=0.1"]
    verb = ["train", "autoencoder", str(folder / "recipe.toml"), "--out", str(folder / name)]
    rank = ["--no-python", *fork_of("cli.app")]
    return Forked("torch.distributed.run", *launcher, *rank, *verb, *flags)


def kill_second(launcher: Forked, checkpoint: Path) -> None:
    """kill -9 rank 1 once a checkpoint is there."""
    while not checkpoint.exists():
        assert launcher.returncode is None
        time.sleep(0.01)
    (second,) = (
        process
        for process in psutil.Process(launcher.pid).children()
        if process.environ().get("RANK") == "1"
    )
    second.kill()


@pytest.mark.slow
def test_a_killed_process_costs_the_steps_since_the_checkpoint(tmp_path: Path) -> None:
    """torchrun starts both again, --resume goes on, and all ends as in one process. One speaks."""
    recipe = many_steps(tmp_path)
    dump(recipe, tmp_path / "recipe.toml")
    halves = replace(recipe.autoencoder.train, accumulate=2)
    alone = replace(recipe, autoencoder=replace(recipe.autoencoder, train=halves))
    lines = fit_autoencoder(alone, tmp_path / "one", False)
    launcher = torchrun(tmp_path, "two", "--resume")
    try:
        kill_second(launcher, tmp_path / "two" / "checkpoints" / "step-00000002")
        code = launcher.wait()
    finally:
        launcher.send_signal(signal.SIGTERM)  # which ends its processes too
    said, errors = launcher.said()
    assert code == 0, errors[-3000:]
    assert re.search(r" [1-9]\d?/30 \[00:00<\?", errors), "a bar that begins at a checkpoint"
    require_same_autoencoder(tmp_path / "one", tmp_path / "two", STEPS)
    skipped = [line for line in lines if line.startswith("skipped")]
    assert skipped == ["skipped bee/000.png: not an image"]
    assert [line for line in said.splitlines() if line.startswith("skipped")] == skipped
    assert said.count("tokenizer ") == 1


@pytest.mark.slow
def test_an_error_says_whose_it_is(tmp_path: Path) -> None:
    """More processes than a step has images: each refuses, with its rank and machine."""
    dump(many_steps(tmp_path), tmp_path / "recipe.toml")
    launcher = torchrun(tmp_path, "run", "--set", "autoencoder.train.batch_size=1")
    assert launcher.wait() != 0
    _, errors = launcher.said()
    wanted = r"nvgctl: rank [01] of 2 on \S+: a step has 1 images for 2 processes: start at most 1"
    assert re.search(wanted, errors)


@pytest.mark.slow
def test_a_main_process_that_is_refused_ends_all(tmp_path: Path) -> None:
    """No launcher ends the others: each ends by itself with exit code 2, and one line is told."""
    dump(many_steps(tmp_path), tmp_path / "recipe.toml")
    out = tmp_path / "run"
    verb = ["train", "autoencoder", str(tmp_path / "recipe.toml"), "--out", str(out)]
    with run_lock(out, ["autoencoder"]):
        started = start_processes(3, "cli.app", *verb)
        assert [process.wait(120) for process in started] == [2, 2, 2]
        errors = [process.said()[1] for process in started]
    lines = [line for text in errors for line in text.splitlines() if "nvgctl:" in line]
    assert len(lines) == 1
    assert lines[0].startswith(f"nvgctl: rank 0 of 3 on {socket.gethostname()}: {out} is being")
    assert not (out / "config.toml").exists()
