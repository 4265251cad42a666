"""`python -m tests.soak [KILLS] [ENGINE] [SEED]`: kill -9 a pass at random moments, many times.

Each time the pass is continued with --resume, and killed again, until it has been killed often
enough; then it may finish. The store must equal that of a pass that nobody disturbed.
"""

import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from nvg.config import dump
from nvg.store import open_store, store_exists
from pipeline.recipe import TokenizeConfig
from tests.makers import files_below, tiny_recipe, write_image_folder
from tests.nvg.tokenizer.makers import write_autoencoder

IMAGES_PER_CLASS, CHUNK_ROWS = 2500, 4
DIES_EARLY = {"inline": 0.005, "ray": 0.0005}  # chance at each look, 50 a second; Ray starts slowly
LONGEST_LIFE = 2.0  # seconds between the first sign of a store, or of progress, and a kill


def start(folder: Path, out: Path, engine: str) -> "subprocess.Popen[bytes]":
    """A pass in a process group of its own."""
    verb = ["tokenize", folder / "recipe.toml", "--tokenizer", folder / "run", "--out", out]
    command = [sys.executable, "-m", "cli.app", *map(str, verb), "--engine", engine, "--resume"]
    return subprocess.Popen(command, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                            start_new_session=True)  # fmt: skip


def killed_once(folder: Path, out: Path, engine: str, randomness: random.Random) -> int:
    """Let a pass live for a while and kill all of it; how many chunks are committed then."""
    process = start(folder, out, engine)
    before = committed(out)
    deadline = time.monotonic() + 120
    while committed(out) <= before and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.02)
        if randomness.random() < DIES_EARLY[engine]:  # before it has written anything
            break
    time.sleep(randomness.uniform(0, LONGEST_LIFE))
    if process.poll() is not None:
        sys.exit(f"soak: the pass ended by itself with {process.returncode}: give it more images")
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    return committed(out)


def committed(out: Path) -> int:
    """Chunks with a commit record; 0 before there is a store."""
    return len(open_store(str(out)).committed()) if store_exists(str(out)) else 0


def main() -> None:
    """Run the trial; exit 1 when the stores differ."""
    kills, engine, seed = (sys.argv[1:] + ["20", "inline", "0"][len(sys.argv) - 1 :])[:3]
    randomness = random.Random(int(seed))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_image_folder(folder / "images", per_class=IMAGES_PER_CLASS)
        write_autoencoder(folder / "run")
        tokenize = TokenizeConfig(chunk_rows=CHUNK_ROWS, batch_size=2)
        dump(tiny_recipe(folder / "images", tokenize=tokenize), folder / "recipe.toml")
        if start(folder, folder / "calm.vgs", engine).wait():
            sys.exit("soak: the undisturbed pass failed")
        for number in range(int(kills)):
            chunks = killed_once(folder, folder / "killed.vgs", engine, randomness)
            print(f"kill {number + 1}: {chunks} chunks committed", flush=True)
        code = start(folder, folder / "killed.vgs", engine).wait()
        calm, killed = (files_below(folder / f"{name}.vgs") for name in ("calm", "killed"))
        different = sorted(n for n in calm.keys() | killed.keys() if calm.get(n) != killed.get(n))
        left = sorted(path.name for path in folder.glob("*.lock"))
        print(f"{kills} kills of the {engine} engine, then exit {code}; {len(calm)} files, "
              f"different: {different or 'none'}, locks left: {left or 'none'}")  # fmt: skip
        sys.exit(bool(different or left or code))


if __name__ == "__main__":
    main()
