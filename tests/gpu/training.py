"""A training step of both d16 generators as in training: time, use of the machine, memory."""

import re
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch.profiler import ProfilerActivity, profile

from nvg.distributed import World
from nvg.generator.config import GeneratorKind
from nvg.training.generator.trainer import GeneratorTrainer
from tests.gpu.formulas import training_step
from tests.gpu.materials import random_store, sizes_of, trainer_of
from tests.gpu.report import Report, Setting
from tests.gpu.timing import nominal_peak, peak_gib, product_rate, reset_peak, settle

BATCH, TINY_BATCH = 256, 8
WARM, STEPS = 3, 20
MOST_MS, LEAST_USE, MOST_WAIT = 250.0, 0.42, 0.01
ATTENTION = re.compile(r"flash|fmha|sdpa|attention", re.I)


def run(setting: Setting, report: Report) -> None:
    """All of the part."""
    sizes, batch = sizes_of(setting), TINY_BATCH if setting.tiny else BATCH
    with tempfile.TemporaryDirectory() as folder:
        store = random_store(Path(folder), sizes, 8 * batch)
        reset_peak(setting.device)
        world = World(0, 1, setting.device)
        trainer = trainer_of(sizes, store, batch, world, list(GeneratorKind))
        batches = trainer.batches()
        first = first_step(trainer, batches, setting)
        report.figure("first step, compiling included", first, "s")
        taken, waited = steady(trainer, batches, setting, 3 if setting.tiny else STEPS)
        _speed(setting, report, batch, taken, waited)
        report.figure("peak memory", peak_gib(setting.device), "GiB")
        flops = training_step(sizes, batch)
        report.figure("operations of a step", flops / 1e12, "TFLOP")
        _use(setting, report, flops / taken)
        report.figure("attention", attention_kernels(trainer, batches, setting))


def first_step(trainer: GeneratorTrainer, batches: Iterator[Any], setting: Setting) -> float:
    """Seconds of the first step, which compiles."""
    began = time.perf_counter()
    trainer.step(0, next(batches))
    settle(setting.device)
    return time.perf_counter() - began


def steady(
    trainer: GeneratorTrainer, batches: Iterator[Any], setting: Setting, steps: int
) -> tuple[float, float]:
    """Seconds of a step, and the share of them that waits for data."""
    for number in range(1, 1 + WARM):
        trainer.step(number, next(batches))
    settle(setting.device)
    waited, began = 0.0, time.perf_counter()
    for number in range(1 + WARM, 1 + WARM + steps):
        before = time.perf_counter()
        batch = next(batches)
        waited += time.perf_counter() - before
        trainer.step(number, batch)
    settle(setting.device)
    spent = time.perf_counter() - began
    return spent / steps, waited / spent


def _speed(setting: Setting, report: Report, batch: int, taken: float, waited: float) -> None:
    most = None if setting.tiny else MOST_MS
    report.figure(f"step of both, B = {batch}", 1000 * taken, "ms", at_most=most)
    report.figure("images a second", batch / taken, "1/s")
    report.figure("data wait", waited, at_most=None if setting.tiny else MOST_WAIT)


def _use(setting: Setting, report: Report, rate: float) -> None:
    """MFU by the data sheet, which the target means, and by what a product reaches here."""
    peak = nominal_peak(setting.device)
    if peak:
        report.figure("use of the data sheet's peak", rate / peak, at_least=LEAST_USE)
    best = product_rate(setting.device, 256 if setting.tiny else 8192, torch.bfloat16)
    report.figure("use of what a product reaches", rate / best)


def attention_kernels(trainer: GeneratorTrainer, batches: Iterator[Any], setting: Setting) -> str:
    """The kernels of attention in one step by name; on a CPU the operators."""
    activity = ProfilerActivity.CUDA if setting.is_cuda else ProfilerActivity.CPU
    with profile(activities=[activity]) as seen:
        trainer.step(1 + WARM + STEPS, next(batches))
        settle(setting.device)
    names = sorted({event.key for event in seen.key_averages() if ATTENTION.search(event.key)})
    return "; ".join(name[:90] for name in names) or "none by such a name"
