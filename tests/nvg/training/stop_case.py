"""One of two processes that train until they are told to stop: see test_stop_together.py."""

import sys
import time
from pathlib import Path
from typing import Any

import torch

from nvg.distributed import joined
from nvg.training.autoencoder.config import AutoencoderTraining
from nvg.training.loop import Task, train_loop
from nvg.training.run_dir import Run
from tests.makers import tiny_recipe

STEPS = 100_000


class Slow(Task[int]):
    """Steps of a few milliseconds; says when the first is done."""

    done = 0

    def step(self, number: int, batch: int) -> dict[str, torch.Tensor]:
        if number == 1:
            print("started", flush=True)
        time.sleep(0.002)
        self.done += 1
        return {"value": torch.zeros(())}

    def state(self) -> tuple[dict[str, bytes], dict[str, Any]]:
        return {}, {}

    def rows(self, batch: int) -> str:
        return str(batch)

    def checkpointed(self, number: int) -> None:
        pass


def main(folder: Path) -> None:
    """Train, and tell at which step it was stopped."""
    task = Slow()
    with joined() as world:
        run = Run(folder, tiny_recipe(), False, ("autoencoder",), writes=world.is_main)
        config = AutoencoderTraining(steps=STEPS, log_every=50_000, checkpoint_every=50_000)
        try:
            train_loop(run, config, 0, iter(range(STEPS)), task, "test", world)
        except KeyboardInterrupt:
            print(task.done)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
