"""A training step of all stages of an image against one of one stage: time and memory an image.

Both generators of the release's choices on a 16x16 grid; memory is what autograd saves for the
backward pass. The canvases of all stages and the sequences' shape are made once an image.
"""

import tempfile
from dataclasses import replace
from functools import partial
from pathlib import Path

import torch

from nvg.format.base import TOKENIZER_FILE
from nvg.generator.build import build_generator
from nvg.generator.config import RELEASE, GeneratorKind, TransformerConfig
from nvg.quantizer.granularity import load_quantizer
from nvg.sequence import Sequences
from nvg.training.generator.config import GeneratorTraining
from nvg.training.generator.objective import Objective, sample_example
from nvg.training.generator.shape import shape_of
from tests.bench.measure import interleaved, machine
from tests.nvg.store.makers import write_store

IMAGES, ROUNDS = 2, 5
SIZE = TransformerConfig(depth=4, width=256, heads=4)
COUNTS = (1, 3, 9)


def main() -> None:
    """Print time and saved memory an image for each number of stages, and the ratio to one."""
    print(f"stages: steps of {IMAGES} images, depth {SIZE.depth}, width {SIZE.width}; {machine()}")
    with tempfile.TemporaryDirectory() as folder:
        store = write_store(Path(folder) / "tokens.vgs", rows=IMAGES, grid=16)
        quantizer = load_quantizer(store.read(TOKENIZER_FILE), store.geometry)
        models = {
            part: build_generator(part, shape_of(SIZE, store, quantizer, RELEASE))
            for part in GeneratorKind
        }
        content, leaves = (torch.from_numpy(a[:, 0]).long() for a in (store.content, store.leaves))
    batch = Sequences(leaves, content, torch.zeros(IMAGES, dtype=torch.int64))
    saved: dict[int, int] = {}

    def step(count: int) -> None:
        training = replace(GeneratorTraining(), stages_per_image=count)
        examples = sample_example(models, quantizer, batch, training)
        total = 0

        def keep(tensor: torch.Tensor) -> torch.Tensor:
            nonlocal total
            total += tensor.numel() * tensor.element_size()
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
            terms = [Objective(models[part])(examples[part]) for part in models]
        torch.stack([value for each in terms for value in each.values()]).sum().backward()
        saved[count] = total

    seconds = interleaved({str(count): partial(step, count) for count in COUNTS}, ROUNDS)
    for count in COUNTS:
        time, memory = seconds[str(count)], saved[count]
        print(
            f"  {count} of 9 stages: {time / IMAGES:.2f} s an image, {memory / IMAGES / 2**20:.0f} "
            f"MiB saved; {time / seconds['1']:.2f} x and {memory / saved[1]:.2f} x one stage"
        )
