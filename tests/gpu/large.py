"""A training step of both d24 generators on one device: time and memory."""

import tempfile
from pathlib import Path

from nvg.distributed import World
from nvg.generator.config import GeneratorKind
from tests.gpu.materials import random_store, sizes_of, trainer_of
from tests.gpu.report import Report, Setting
from tests.gpu.timing import peak_gib, reset_peak
from tests.gpu.training import first_step, steady

BATCH, TINY_BATCH, STEPS = 96, 8, 5


def run(setting: Setting, report: Report) -> None:
    """All of the part: activations kept, then recomputed."""
    batch = TINY_BATCH if setting.tiny else BATCH
    with tempfile.TemporaryDirectory() as folder:
        store = random_store(Path(folder), sizes_of(setting, 24), 8 * batch)
        for recomputes in (False, True):
            name = "recomputing" if recomputes else "plain"
            if recomputes and not report.has_time(25, name):
                return
            reset_peak(setting.device)
            world = World(0, 1, setting.device)
            trainer = trainer_of(
                sizes_of(setting, 24),
                store,
                batch,
                world,
                list(GeneratorKind),
                checkpoint_activations=recomputes,
            )
            batches = trainer.batches()
            report.figure(f"{name}: first step", first_step(trainer, batches, setting), "s")
            taken, _ = steady(trainer, batches, setting, STEPS)
            report.figure(f"{name}: step of both, B = {batch}", 1000 * taken, "ms")
            report.figure(f"{name}: peak memory", peak_gib(setting.device), "GiB")
            del trainer, batches
