"""A training step fed by cached tokens, against the same step fed by images tokenized on the fly.

Also the share of time that waits for data, tokens per second, and the use of the machine's FLOP/s:
the model's own operations, as torch counts them, against the device's matrix product.
"""

import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import torch
from torch.utils.flop_counter import FlopCounterMode

from nvg.autoencoder_config import AutoencoderConfig
from nvg.backbone import TransformerConfig
from nvg.distributed import World, device
from nvg.generator_config import GeneratorTraining
from nvg.generators import Part, shape_of
from nvg.learner import Learner
from nvg.sequence import Sequences
from nvg.store import Store
from nvg.train_generator import GeneratorTask
from nvg.training import step_seed
from tests.bench.measure import interleaved, machine
from tests.makers import make_store, tiny_autoencoder

ROUNDS, WAITED = 5, 30
ON_CPU = (TransformerConfig(depth=4, width=192, heads=3), 32)  # size, batch
ON_GPU = (TransformerConfig(depth=16, width=1024, heads=16), 256)
# 32 px, 8x8 grid on a CPU; the paper's encoder on a GPU
ENCODER_ON_CPU = AutoencoderConfig(
    image_size=32, base_channels=64, multipliers=(1, 2, 4), latent_dim=16, codebook_size=1024
)


def main() -> None:
    """Print the table for the content generator, the larger part of training."""
    where = device()
    is_gpu = where.type == "cuda"
    config, batch = ON_GPU if is_gpu else ON_CPU
    encoder = AutoencoderConfig() if is_gpu else ENCODER_ON_CPU
    with tempfile.TemporaryDirectory() as folder:
        store = make_store(
            Path(folder) / "a.vgs",
            8 * batch,
            grid=encoder.geometry.grid,
            codebook_size=encoder.codebook_size,
            chunk_rows=batch,
        )
        task = _task(store, config, batch, World(0, 1, where))
        _report(task, encoder, batch, where)


def _task(store: Store, config: TransformerConfig, batch: int, world: World) -> GeneratorTask:
    training = replace(GeneratorTraining(), batch_size=batch, warmup=0)
    learner = Learner(Part.CONTENT, shape_of(config, store), training, world)
    learner.start(None)
    return GeneratorTask([learner], store, world, None)


def _report(
    task: GeneratorTask, encoder: AutoencoderConfig, batch: int, where: torch.device
) -> None:
    tokenizer = tiny_autoencoder(0, encoder).to(where)
    side = encoder.image_size
    pixels = torch.randint(0, 256, (batch, 3, side, side), dtype=torch.uint8, device=where)
    batches = task.batches()

    def cached() -> None:
        task.step(0, next(batches))
        _settle(where)

    def from_images() -> None:
        leaves, content, _ = tokenizer.tokenize(pixels)
        label = torch.zeros(batch, dtype=torch.int64)
        task.step(0, [Sequences(leaves.cpu(), content.cpu() % 16, label)])
        _settle(where)

    seconds = interleaved({"cached": cached, "images": from_images}, ROUNDS)
    operations = _operations(task, batches)
    best = _best_rate(where)
    tokens = batch * encoder.geometry.positions / seconds["cached"]
    print(f"train: one step of the content generator, batch {batch}; {machine()}")
    print(
        f"  cached tokens {seconds['cached']:.3f} s, images tokenized on the fly "
        f"{seconds['images']:.3f} s: {seconds['images'] / seconds['cached']:.2f} times as long"
    )
    print(f"  waiting for data: {_wait_share(task, batches, where):.3%} of the time")
    print(
        f"  {tokens:.0f} tokens/s, {operations / 1e9:.1f} GFLOP a step = "
        f"{operations / seconds['cached'] / best:.1%} of the {best / 1e12:.2f} TFLOP/s of a "
        "matrix product here"
    )


def _settle(where: torch.device) -> None:
    if where.type == "cuda":
        torch.cuda.synchronize()


def _operations(task: GeneratorTask, batches: Iterator[list[Sequences]]) -> float:
    """Forward and backward of one step."""
    with FlopCounterMode(display=False) as counter:
        task.step(step_seed(0, 0) % 1000, next(batches))
    return float(counter.get_total_flops())


def _wait_share(
    task: GeneratorTask, batches: Iterator[list[Sequences]], where: torch.device
) -> float:
    waited, began = 0.0, time.perf_counter()
    for number in range(WAITED):
        before = time.perf_counter()
        batch = next(batches)
        waited += time.perf_counter() - before
        task.step(number, batch)
    _settle(where)
    return waited / (time.perf_counter() - began)


def _best_rate(where: torch.device) -> float:
    """FLOP/s of a large matrix product, bfloat16 on a GPU, as training uses it."""
    size, kind = (8192, torch.bfloat16) if where.type == "cuda" else (2048, torch.float32)
    left = torch.randn(size, size, device=where, dtype=kind)

    def product() -> None:
        left @ left
        _settle(where)

    return 2 * size**3 / interleaved({"product": product}, ROUNDS)["product"]
