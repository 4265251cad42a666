"""How long a checkpoint of a sharded generator holds the steps up, with two processes.

Gathered and written by the first process while all wait, against shards that every process copies
and writes beside the next steps. Then the same of d24 on paper, from its bytes.
"""

import json
import shutil
import statistics
import sys
import tempfile
import time
from pathlib import Path

import torch
from safetensors.torch import save

from nvg.distributed import World, joined
from nvg.files import write_atomic
from nvg.generator.build import build_generator
from nvg.generator.config import GeneratorKind, TransformerConfig
from nvg.training.checkpoint import Checkpoints, optimizer_tensors
from nvg.training.generator.config import GeneratorTraining
from nvg.training.generator.state import GeneratorState
from pipeline.recipe.presets import PRESETS
from tests.bench.measure import machine
from tests.nvg.generator.makers import make_shape
from tests.nvg.training.makers import full_state
from tests.processes import outputs, start_processes

SIZE = TransformerConfig(depth=8, width=640, heads=10)
ROUNDS = 5
COPY, WRITE, GATHER = 5e9, 2e9, 20e9  # bytes a second: GPU to pageable memory, disk, GPU to GPU
GPUS = 8


def main() -> None:
    """Print the medians of the slower process, and the estimate for d24."""
    with tempfile.TemporaryDirectory() as folder:
        started = start_processes(2, "tests.bench.save", folder)
        found = [json.loads(text.splitlines()[-1]) for text in outputs(started)]
    millions, size = found[0]["parameters"] / 1e6, found[0]["bytes"] / 1e6
    print(f"save: {millions:.0f} M parameters, {size:.0f} MB, two processes; {machine()}")
    for name in ("gathered", "beside", "complete"):
        seconds = max(each[name] for each in found)
        print(f"  {name:9} {seconds:6.2f} s {'until it is written' * (name == 'complete')}")
    _print_d24()


def _print_d24() -> None:
    count, tables = 0, PRESETS["d24"]
    for part in GeneratorKind:
        transformer = TransformerConfig(**tables[part.value])
        shape = make_shape(
            transformer=transformer, grid=16, classes=1000, codebook_size=4096, latent_dim=16
        )
        with torch.device("meta"):
            count += sum(p.numel() for p in build_generator(part, shape).parameters())
    size = 4 * 4 * count
    gathered = size / GATHER + size / COPY + size / WRITE
    beside, written = size / GPUS / COPY, size / WRITE
    print(
        f"  d24, both networks: {count / 1e9:.2f} G parameters x 4 arrays x 4 bytes = "
        f"{size / 1e9:.1f} GB; on {GPUS} GPUs at {COPY / 1e9:.0f} GB/s to the host, "
        f"{WRITE / 1e9:.0f} GB/s to the disk and {GATHER / 1e9:.0f} GB/s between GPUs: steps held "
        f"up {gathered:.1f} s gathered, {beside:.2f} s beside; written after {written:.1f} s"
    )


def _measure(world: World, folder: Path) -> dict[str, float]:
    """Medians over the rounds, of this process."""
    torch.manual_seed(0)
    shape, training = make_shape(transformer=SIZE), GeneratorTraining(sharded=True)
    state = GeneratorState(GeneratorKind.CONTENT, shape, training, world)
    for parameter in state.model.parameters():
        parameter.grad = torch.zeros_like(parameter)
    state.update(0)
    checkpoints, seconds = Checkpoints(folder / "shards"), dict[str, list[float]]()
    for number in range(ROUNDS):
        world.wait()
        began = time.perf_counter()
        _gathered(state, world, folder / "whole")
        seconds.setdefault("gathered", []).append(time.perf_counter() - began)
        world.wait()
        began = time.perf_counter()
        checkpoints.begin(number, state.files(), {}, keep=1, world=world)
        seconds.setdefault("beside", []).append(time.perf_counter() - began)
        checkpoints.wait()
        seconds.setdefault("complete", []).append(time.perf_counter() - began)
    count = sum(parameter.numel() for parameter in state.model.parameters())
    medians = {name: statistics.median(values) for name, values in seconds.items()}
    return {**medians, "parameters": count, "bytes": 16 * count}


def _gathered(state: GeneratorState, world: World, folder: Path) -> None:
    """Whole files by the first process; the other gathers with it and waits."""
    files = {}
    parts = {"w": state.model.state_dict(), "e": state.ema, "o": optimizer_tensors(state.optimizer)}
    for name, tensors in parts.items():
        full = full_state(tensors, world.is_main)
        files[name] = save({n: value.contiguous() for n, value in full.items()})
    if world.is_main:
        for name, data in files.items():
            write_atomic(folder / name, data)
        shutil.rmtree(folder)
    world.wait()


if __name__ == "__main__":
    with joined() as here:
        print(json.dumps(_measure(here, Path(sys.argv[1]))))
