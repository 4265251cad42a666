"""A training step of both d24 generators on one device: time and memory."""

import tempfile
from dataclasses import fields
from pathlib import Path

from nvg.distributed import World
from nvg.generator.config import GeneratorKind
from nvg.training.generator.config import GeneratorTraining
from tests.gpu.materials import random_store, sizes_of, trainer_of
from tests.gpu.report import Report, Setting
from tests.gpu.timing import peak_gib, reset_peak
from tests.gpu.training import first_step, steady

BATCH, TINY_BATCH, STEPS = 96, 8, 5
RECOMPUTE = "checkpoint_activations"  # a field of the training, where this version has it


def run(setting: Setting, report: Report) -> None:
    """All of the part: with activation checkpointing too, where there is such an option."""
    batch = TINY_BATCH if setting.tiny else BATCH
    has_option = RECOMPUTE in {field.name for field in fields(GeneratorTraining)}
    with tempfile.TemporaryDirectory() as folder:
        store = random_store(Path(folder), sizes_of(setting, 24), 8 * batch)
        for option in ({}, {RECOMPUTE: True})[: 1 + has_option]:
            name = "recomputing" if option else "plain"
            if option and not report.has_time(25, name):
                return
            reset_peak(setting.device)
            world = World(0, 1, setting.device)
            trainer = trainer_of(
                sizes_of(setting, 24), store, batch, world, list(GeneratorKind), **option
            )
            batches = trainer.batches()
            report.figure(f"{name}: first step", first_step(trainer, batches, setting), "s")
            taken, _ = steady(trainer, batches, setting, STEPS)
            report.figure(f"{name}: step of both, B = {batch}", 1000 * taken, "ms")
            report.figure(f"{name}: peak memory", peak_gib(setting.device), "GiB")
            del trainer, batches
