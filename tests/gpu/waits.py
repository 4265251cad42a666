"""Where the host waits for the device in a warm training step and in sampling; recompilations."""

import tempfile
import traceback
import warnings
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import torch
from torch._dynamo.utils import counters

from nvg.distributed import World
from nvg.generator.config import GeneratorKind
from nvg.sampling.config import SamplerConfig
from nvg.sampling.graphs import use_graphs
from nvg.sampling.guidance import Noise
from nvg.sampling.sampler import Sampler
from nvg.store import Store
from tests.gpu.materials import Sizes, generators, quantizer_of, random_store, sizes_of, trainer_of
from tests.gpu.report import Report, Setting
from tests.gpu.timing import settle

BATCH, TINY_BATCH, SAMPLES = 32, 8, 8
STEPS = 5
FOLDERS = ("/nvg/", "/pipeline/")
SAID = "called a synchronizing CUDA operation"  # by torch


def run(setting: Setting, report: Report) -> None:
    """All of the part."""
    sizes, batch = sizes_of(setting), TINY_BATCH if setting.tiny else BATCH
    with tempfile.TemporaryDirectory() as folder:
        store = random_store(Path(folder), sizes, 8 * batch)
        _training(setting, report, sizes, store, batch)
        _sampling(setting, report, sizes, store)


def waits(call: Callable[[], object], device: torch.device) -> Counter[str]:
    """Where a call makes the host wait, by the innermost line of this project, and how often."""
    places: Counter[str] = Counter()

    def note(message: object, category: object, filename: str, lineno: int, *rest: object) -> None:
        if SAID not in str(message):
            return
        own = [f for f in traceback.extract_stack() if any(name in f.filename for name in FOLDERS)]
        if own:
            filename, lineno = own[-1].filename, own[-1].lineno or 0
        places[f"{'/'.join(Path(filename).parts[-3:])}:{lineno}"] += 1

    settle(device)
    with warnings.catch_warnings():
        warnings.filterwarnings("always", message=f".*{SAID}")
        before, warnings.showwarning = warnings.showwarning, note  # type: ignore[assignment]
        torch.cuda.set_sync_debug_mode("warn")
        try:
            call()
        finally:
            torch.cuda.set_sync_debug_mode("default")
            warnings.showwarning = before
    return places


def graphs() -> int:
    """Graphs that torch.compile has made in this process."""
    return int(counters["stats"]["unique_graphs"])


def _training(setting: Setting, report: Report, sizes: Sizes, store: Store, batch: int) -> None:
    """Warm steps of both generators, whose batches are in memory."""
    world = World(0, 1, setting.device)
    trainer = trainer_of(sizes, store, batch, world, list(GeneratorKind))
    if not setting.is_cuda:  # there the trainer compiles them itself
        for state in trainer.states:
            state.model.backbone.compile(backend="eager")
    batches = trainer.batches()
    for number in range(2):
        trainer.step(number, next(batches))
    first = graphs()
    for number in range(2, 2 + STEPS):
        trainer.step(number, next(batches))
    report.figure("training: graphs of the first two steps", float(first))
    report.check("training: none is compiled again", graphs() == first, f"{graphs() - first} were")
    if setting.is_cuda:
        step = next(batches)
        _report(report, "a training step", waits(lambda: trainer.step(9, step), setting.device))


def _sampling(setting: Setting, report: Report, sizes: Sizes, store: Store) -> None:
    """A batch of samples whose noise is drawn before: two flow steps a stage."""
    models = generators(sizes, store)
    content, structure = (models[part].to(setting.device) for part in GeneratorKind)
    quantizer = quantizer_of(store).to(setting.device)
    config = SamplerConfig(flow_steps=2)
    sampler = Sampler(content, structure, quantizer, config)  # type: ignore[arg-type]
    label = torch.arange(SAMPLES).to(setting.device) % sizes.classes

    def sample() -> None:
        noise = Noise(0, range(SAMPLES), setting.device, sampler._draws(None))
        sampler.sample(label, noise)

    sample()
    if setting.is_cuda:
        _report(report, "a batch of samples", waits(sample, setting.device))
        use_graphs([content, structure], setting.device)
        for _ in range(2):
            sample()
        _report(report, "a batch of samples by graphs", waits(sample, setting.device))
    else:
        report.note("waits: only CUDA counts them")


def _report(report: Report, name: str, places: Counter[str]) -> None:
    report.figure(f"waits in {name}", float(places.total()), at_most=0)
    for place, count in places.most_common():
        report.note(f"{place}, {count} times")
