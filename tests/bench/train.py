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

from nvg.distributed import World, default_device
from nvg.format.base import TOKENIZER_FILE
from nvg.generator.config import GeneratorKind, TransformerConfig
from nvg.quantizer.granularity import load_quantizer
from nvg.seeding import step_seed
from nvg.sequence import Sequences
from nvg.store import Store
from nvg.tokenizer.config import AutoencoderConfig
from nvg.training.generator.config import GeneratorTraining
from nvg.training.generator.state import GeneratorState
from nvg.training.generator.trainer import GeneratorTrainer
from tests.bench.measure import interleaved, machine
from tests.nvg.store.makers import write_store
from tests.nvg.tokenizer.makers import tiny_autoencoder
from tests.nvg.training.generator.makers import shape_for

ROUNDS, WAITED = 5, 30
ON_CPU = (TransformerConfig(depth=4, width=192, heads=3), 32)  # size, batch
ON_GPU = (TransformerConfig(depth=16, width=1024, heads=16), 256)
# 32 px, 8x8 grid on a CPU; the paper's encoder on a GPU
ENCODER_ON_CPU = AutoencoderConfig(
    image_size=32, base_channels=64, multipliers=(1, 2, 4), latent_dim=16, codebook_size=1024
)


def main() -> None:
    """Print the table for the content generator, the larger part of training."""
    device = default_device()
    is_gpu = device.type == "cuda"
    config, batch = ON_GPU if is_gpu else ON_CPU
    encoder = AutoencoderConfig() if is_gpu else ENCODER_ON_CPU
    with tempfile.TemporaryDirectory() as folder:
        store = write_store(
            Path(folder) / "a.vgs",
            8 * batch,
            grid=encoder.geometry.grid,
            codebook_size=encoder.codebook_size,
            chunk_rows=batch,
        )
        task = _task(store, config, batch, World(0, 1, device))
        _report(task, encoder, batch, device)


def _task(store: Store, config: TransformerConfig, batch: int, world: World) -> GeneratorTrainer:
    training = replace(GeneratorTraining(), batch_size=batch, warmup=0)
    state = GeneratorState(GeneratorKind.CONTENT, shape_for(config, store), training, world)
    quantizer = load_quantizer(store.read(TOKENIZER_FILE), store.geometry)
    return GeneratorTrainer([state], store, quantizer, world)


def _report(
    task: GeneratorTrainer, encoder: AutoencoderConfig, batch: int, device: torch.device
) -> None:
    tokenizer = tiny_autoencoder(0, encoder).to(device)
    side = encoder.image_size
    pixels = torch.randint(0, 256, (batch, 3, side, side), dtype=torch.uint8, device=device)
    batches = task.batches()

    def cached() -> None:
        task.step(0, next(batches))
        _settle(device)

    def from_images() -> None:
        leaves, content, _ = tokenizer.tokenize(pixels)
        label = torch.zeros(batch, dtype=torch.int64)
        task.step(0, [Sequences(leaves.cpu(), content.cpu() % 16, label)])
        _settle(device)

    seconds = interleaved({"cached": cached, "images": from_images}, ROUNDS)
    operations = _operations(task, batches)
    best = _best_rate(device)
    tokens = batch * encoder.geometry.positions / seconds["cached"]
    print(f"train: one step of the content generator, batch {batch}; {machine()}")
    print(
        f"  cached tokens {seconds['cached']:.3f} s, images tokenized on the fly "
        f"{seconds['images']:.3f} s: {seconds['images'] / seconds['cached']:.2f} times as long"
    )
    print(f"  waiting for data: {_wait_share(task, batches, device):.3%} of the time")
    print(
        f"  {tokens:.0f} tokens/s, {operations / 1e9:.1f} GFLOP a step = "
        f"{operations / seconds['cached'] / best:.1%} of the {best / 1e12:.2f} TFLOP/s of a "
        "matrix product here"
    )


def _settle(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize()


def _operations(task: GeneratorTrainer, batches: Iterator[list[Sequences]]) -> float:
    """Forward and backward of one step."""
    with FlopCounterMode(display=False) as counter:
        task.step(step_seed(0, 0) % 1000, next(batches))
    return float(counter.get_total_flops())


def _wait_share(
    task: GeneratorTrainer, batches: Iterator[list[Sequences]], device: torch.device
) -> float:
    waited, began = 0.0, time.perf_counter()
    for number in range(WAITED):
        before = time.perf_counter()
        batch = next(batches)
        waited += time.perf_counter() - before
        task.step(number, batch)
    _settle(device)
    return waited / (time.perf_counter() - began)


def _best_rate(device: torch.device) -> float:
    """FLOP/s of a large matrix product, bfloat16 on a GPU, as training uses it."""
    size, kind = (8192, torch.bfloat16) if device.type == "cuda" else (2048, torch.float32)
    left = torch.randn(size, size, device=device, dtype=kind)

    def product() -> None:
        left @ left
        _settle(device)

    return 2 * size**3 / interleaved({"product": product}, ROUNDS)["product"]
