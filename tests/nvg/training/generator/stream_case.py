"""One of several processes that train by streaming: `stream_case.py FOLDER STEPS`.

It goes on with the run in the folder up to so many steps, and prints the rows of each step.
"""

import json
import sys
from dataclasses import replace
from pathlib import Path

from nvg.config import load
from nvg.loader import LoaderMode
from nvg.sequence import Sequences
from nvg.training.generator.trainer import GeneratorTrainer
from nvg.training.late_metrics import Metrics
from pipeline.recipe import Recipe
from pipeline.train import fit_generator

ROWS: list[list[int]] = []
REAL = GeneratorTrainer.step


def step(trainer: GeneratorTrainer, number: int, batch: list[Sequences]) -> Metrics:
    """The trainer's, which notes the rows."""
    ROWS.append([int(row) for part in batch if part.row is not None for row in part.row])
    return REAL(trainer, number, batch)


def main(folder: Path, steps: int) -> None:
    """Train and print."""
    GeneratorTrainer.step = step  # type: ignore[method-assign,assignment]
    recipe = load(Recipe, folder / "recipe.toml")
    train = replace(
        recipe.generator.train,
        steps=steps,
        batch_size=12,
        accumulate=1,
        checkpoint_every=1,
        loader=LoaderMode.STREAM,
    )
    recipe = replace(recipe, generator=replace(recipe.generator, train=train))
    fit_generator(recipe, str(folder / "store.vgs"), folder / "run", None, steps > 2)
    print(json.dumps(ROWS))


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
