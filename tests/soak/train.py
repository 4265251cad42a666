"""`python -m tests.soak.train [KILLS] [SEED] [VERB]`: kill -9 a training at random moments, often.

VERB is generator, or autoencoder: with every loss that needs no weights file, two micro-batches.

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
from typing import Any

from nvg.config import dump
from nvg.training.autoencoder.config import DiscriminatorConfig, DiscriminatorKind, LossConfig
from pipeline.recipe import Recipe
from tests.makers import recipe_over, tiny_recipe
from tests.nvg.store.makers import make_store
from tests.nvg.tokenizer.makers import tiny_model
from tests.nvg.training.makers import lines_of

STEPS, CHECKPOINT_EVERY = {"generator": 6000, "autoencoder": 600}, 20
LONGEST_LIFE = 3.0  # seconds from the first new checkpoint to the kill
DIES_EARLY = 0.002  # chance at each look, 50 a second


def start(folder: Path, name: str, kind: str) -> "subprocess.Popen[bytes]":
    """A run in a process group of its own."""
    verb = ["train", kind, folder / "recipe.toml"]
    verb += ["--store", folder / "store.vgs"] if kind == "generator" else []
    command = [sys.executable, "-m", "cli.app", *map(str, verb), "--out", str(folder / name)]
    return subprocess.Popen([*command, "--resume"], stderr=subprocess.DEVNULL,
                            stdout=subprocess.DEVNULL, start_new_session=True)  # fmt: skip


def newest(run: Path) -> str:
    """Name of the newest checkpoint; empty before there is one."""
    return max((path.name for path in (run / "checkpoints").glob("step-*")), default="")


def killed_once(folder: Path, randomness: random.Random, kind: str) -> str:
    """Let a run live for a while and kill it; its newest checkpoint then."""
    process, run = start(folder, "killed", kind), folder / "killed"
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


def generator_recipe(folder: Path) -> Recipe:
    """Both generators, on a store of forty rows."""
    make_store(folder / "store.vgs", rows=40)
    recipe = tiny_recipe()
    train = replace(recipe.generator.train, **PACE, steps=STEPS["generator"])
    return replace(recipe, generator=replace(recipe.generator, train=train))


def autoencoder_recipe(folder: Path) -> Recipe:
    """Twelve images; PatchGAN from a tenth of the steps on, entropy, dead codes, dropout."""
    recipe = recipe_over(folder)
    judge = DiscriminatorConfig(kind=DiscriminatorKind.PATCH, start=0.1, ramp=0.1, lecam=0.05)
    train = replace(
        recipe.autoencoder.train,
        **PACE,
        steps=STEPS["autoencoder"],
        accumulate=2,
        dead_code_after=3,
        loss=LossConfig(entropy=0.05),
        discriminator=judge,
    )
    model = replace(tiny_model(16), dropout=0.1)
    return replace(recipe, autoencoder=replace(recipe.autoencoder, train=train, model=model))


PACE: dict[str, Any] = {"checkpoint_every": CHECKPOINT_EVERY, "log_every": 1}
RECIPES = {"generator": generator_recipe, "autoencoder": autoencoder_recipe}


def main() -> None:
    """Run the trial; exit 1 when the runs differ."""
    kills, seed, kind = (sys.argv[1:] + ["20", "0", "generator"][len(sys.argv) - 1 :])[:3]
    randomness = random.Random(int(seed))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        dump(RECIPES[kind](folder), folder / "recipe.toml")
        if start(folder, "calm", kind).wait():
            sys.exit("soak: the undisturbed run failed")
        for number in range(int(kills)):
            print(f"kill {number + 1}: {killed_once(folder, randomness, kind) or 'nothing'}",
                  flush=True)  # fmt: skip
        code = start(folder, "killed", kind).wait()
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
