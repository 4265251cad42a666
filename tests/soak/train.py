"""`python -m tests.soak.train [KILLS] [SEED]`: kill -9 a training run at random moments, often.

Each time it is continued with --resume, and killed again; then it may finish. Its weights, and the
losses of every step, must equal those of a run that nobody disturbed, to the bit.
"""

import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

from nvg.config import dump
from tests.makers import tiny_recipe
from tests.nvg.store.makers import make_store
from tests.nvg.training.makers import lines_of

STEPS, CHECKPOINT_EVERY = 6000, 20
LONGEST_LIFE = 3.0  # seconds from the first new checkpoint to the kill
DIES_EARLY = 0.002  # chance at each look, 50 a second


def start(folder: Path, name: str) -> "subprocess.Popen[bytes]":
    """A run in a process group of its own."""
    verb = ["train", "generator", folder / "recipe.toml", "--store", folder / "store.vgs"]
    command = [sys.executable, "-m", "cli.app", *map(str, verb), "--out", str(folder / name)]
    return subprocess.Popen([*command, "--resume"], stderr=subprocess.DEVNULL,
                            stdout=subprocess.DEVNULL, start_new_session=True)  # fmt: skip


def newest(run: Path) -> str:
    """Name of the newest checkpoint; empty before there is one."""
    return max((path.name for path in (run / "checkpoints").glob("step-*")), default="")


def killed_once(folder: Path, randomness: random.Random) -> str:
    """Let a run live for a while and kill it; its newest checkpoint then."""
    process, run = start(folder, "killed"), folder / "killed"
    before, deadline = newest(run), time.monotonic() + 60
    while newest(run) <= before and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.02)
        if randomness.random() < DIES_EARLY:
            break
    time.sleep(randomness.uniform(0, LONGEST_LIFE))
    if process.poll() is not None:
        sys.exit(f"soak: the run ended by itself with {process.returncode}: give it more steps")
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    return newest(run)


def main() -> None:
    """Run the trial; exit 1 when the runs differ."""
    kills, seed = (sys.argv[1:] + ["20", "0"][len(sys.argv) - 1 :])[:2]
    randomness = random.Random(int(seed))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make_store(folder / "store.vgs", rows=40)
        recipe = tiny_recipe()
        train = replace(
            recipe.generator.train, steps=STEPS, checkpoint_every=CHECKPOINT_EVERY, log_every=1
        )
        dump(replace(recipe, generator=replace(recipe.generator, train=train)),
             folder / "recipe.toml")  # fmt: skip
        if start(folder, "calm").wait():
            sys.exit("soak: the undisturbed run failed")
        for number in range(int(kills)):
            print(f"kill {number + 1}: {killed_once(folder, randomness) or 'nothing'}", flush=True)
        code = start(folder, "killed").wait()
        calm, killed = (folder / run for run in ("calm", "killed"))
        weights = sorted(path.name for path in calm.glob("*.safetensors"))
        different = [n for n in weights if (calm / n).read_bytes() != (killed / n).read_bytes()]
        logs = [lines_of(run / "metrics.jsonl") for run in (calm, killed)]
        same = sum(a == b for a, b in zip(*logs, strict=False))
        print(f"{kills} kills, then exit {code}; {len(weights)} weights files, different: "
              f"{different or 'none'}; {same} of {len(logs[0])} log lines equal")  # fmt: skip
        sys.exit(bool(different or code or logs[0] != logs[1]))


if __name__ == "__main__":
    main()
