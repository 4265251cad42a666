"""NCCL, DDP and FSDP2 on one process: the steps are those of a trainer without a process group.

Also that a checkpoint of either is resumed to the same steps.
"""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
import torch.distributed as dist

from nvg.distributed import World
from nvg.generator.config import GeneratorKind
from nvg.store import Store
from nvg.training.generator.state import GeneratorState
from nvg.training.generator.trainer import GeneratorTrainer
from nvg.training.snapshot import Snapshot
from tests.gpu.materials import Sizes, quantizer_of, random_store, small, trainer_of
from tests.gpu.report import Report, Setting

BATCH, STEPS, SAVED = 8, 4, 2
# Relative error of a loss. DDP computes the same; FSDP2 gathers weights in bfloat16 on a GPU, which
# autocast would cast one by one, but for norms and embeddings, which it leaves in float32.
REPLICATED, SHARDED, RESUMED = 1e-3, 2e-2, 1e-3
EVERY = list(GeneratorKind)


class Group(int):
    """A number of processes that even as 1 is no lone process: all that is collective runs."""

    def __eq__(self, other: object) -> bool:
        return self > 1 and int(self) == other

    __hash__ = int.__hash__


def run(setting: Setting, report: Report) -> None:
    """All of the part."""
    sizes = small(tiny=True)  # each trainer compiles both
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        store = random_store(folder, sizes, STEPS * BATCH)
        alone = _losses(_trainer(sizes, store, World(0, 1, setting.device)), STEPS)
        with _group(setting, folder / "meeting"):
            world = World(0, Group(1), setting.device)
            for way, limit in (("DDP", REPLICATED), ("FSDP2", SHARDED)):
                trainer = _trainer(sizes, store, world, sharded=way == "FSDP2")
                first = _losses(trainer, SAVED)
                files, _ = trainer.state()
                losses = first + _losses(trainer, STEPS - SAVED, SAVED)
                report.within(f"{way} against no group, losses", _error(alone, losses), limit)
                checkpoint = folder / way
                checkpoint.mkdir()
                for file, content in files.items():
                    if isinstance(content, Snapshot):
                        content.write(checkpoint / file)
                    else:
                        (checkpoint / file).write_bytes(content)
                again = _resumed(trainer, store, checkpoint)
                error = _error(losses[SAVED:], _losses(again, STEPS - SAVED, SAVED, skip=SAVED))
                report.within(f"{way} resumed, losses", error, RESUMED)


@contextmanager
def _group(setting: Setting, meeting: Path) -> Iterator[None]:
    """A process group of this process alone."""
    if setting.is_cuda:
        torch.cuda.set_device(setting.device)
    kind = "nccl" if setting.is_cuda else "gloo"
    dist.init_process_group(kind, init_method=f"file://{meeting}", rank=0, world_size=1)
    try:
        yield
    finally:
        dist.destroy_process_group()


def _trainer(sizes: Sizes, store: Store, world: World, sharded: bool = False) -> GeneratorTrainer:
    """At a learning rate that shows in a few steps."""
    return trainer_of(sizes, store, BATCH, world, EVERY, sharded=sharded, lr=0.03)


def _resumed(trainer: GeneratorTrainer, store: Store, checkpoint: Path) -> GeneratorTrainer:
    """A new trainer with the weights and the optimizer of a checkpoint."""
    states = [
        GeneratorState(each.part, each.shape, each.training, each.world, checkpoint=checkpoint)
        for each in trainer.states
    ]
    return GeneratorTrainer(states, store, quantizer_of(store), trainer.world)


def _losses(trainer: GeneratorTrainer, count: int, start: int = 0, skip: int = 0) -> list[float]:
    """Losses of the steps from `start` on; the batches of all but a new trainer go on."""
    batches = trainer.batches()
    for _ in range(skip):
        next(batches)
    return [
        float(trainer.step(number, next(batches))["loss"].detach())
        for number in range(start, start + count)
    ]


def _error(expected: list[float], found: list[float]) -> float:
    return max(abs(b - a) / abs(a) for a, b in zip(expected, found, strict=True))
