"""One of two processes that train sharded generators: see test_sharded_checkpoint.py.

`hang`: the second one gets stuck in the middle of a file of step 8, while the steps go on.
"""

import sys
import time
from dataclasses import replace
from pathlib import Path

from nvg.config import load
from nvg.training.snapshot import Snapshot
from pipeline.recipe import Recipe
from pipeline.train import fit_generator

STUCK = "structure.shard-1-of-2.safetensors"


def get_stuck() -> None:
    """Half of one file, then nothing more."""
    real = Snapshot.write

    def write(self: Snapshot, path: Path) -> None:
        real(self, path)
        if path.parent.name == "writing-00000008" and path.name == STUCK:
            path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
            path.with_suffix(".stuck").touch()
            time.sleep(600)

    Snapshot.write = write  # type: ignore[method-assign]


def main(folder: Path, name: str, *flags: str) -> None:
    """Twelve steps, each fourth saved."""
    if "hang" in flags:
        get_stuck()
    recipe = load(Recipe, folder / "recipe.toml")
    train = replace(recipe.generator.train, steps=12, sharded=True)
    recipe = replace(recipe, generator=replace(recipe.generator, train=train))
    store, out = str(folder / "store.vgs"), folder / name
    fit_generator(recipe, store, out, None, "resume" in flags)


if __name__ == "__main__":
    main(Path(sys.argv[1]), *sys.argv[2:])
