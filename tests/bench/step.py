"""Share of an autoencoder training step that goes into structure and code search."""

from collections.abc import Callable

import torch
from torch import Tensor

from nvg.quantizer.nearest import nearest_code
from nvg.structure import build_leaves
from nvg.tokenizer.autoencoder import from_pixels
from nvg.tokenizer.config import AutoencoderConfig
from nvg.tokenizer.image_batch import ImageBatch
from nvg.training.autoencoder.config import AutoencoderTraining
from nvg.training.autoencoder.trainer import AutoencoderTrainer
from tests.bench.measure import interleaved, machine
from tests.bench.nearest import plain

ROUNDS, CODES = 5, 4096
CASES = {
    "digits' size, 16 px, grid 4, batch 64": (64, 16, (1, 2, 2), 16),
    "CIFAR's size, 32 px, grid 8, batch 32": (32, 32, (1, 2, 2), 32),
    "256 px, grid 16, batch 4": (4, 256, (1, 1, 1, 1, 1), 32),
}
BASE_CHANNELS = 32


def main() -> None:
    """Print, per size, the step and both parts of it by the default and by plain torch."""
    print(f"step: seconds of one autoencoder step, codebook {CODES}; {machine()}")
    for name, (batch, size, multipliers, channels) in CASES.items():
        config = AutoencoderConfig(
            image_size=size,
            base_channels=BASE_CHANNELS,
            multipliers=multipliers,
            blocks=1,
            attention=False,
            latent_dim=channels,
            codebook_size=CODES,
        )
        trainer = AutoencoderTrainer(config, AutoencoderTraining(warmup=0))
        generator = torch.Generator().manual_seed(0)
        pixels = torch.randint(0, 256, (batch, 3, size, size), generator=generator).byte()
        images = ImageBatch(pixels.numpy())
        with torch.no_grad():
            latents = trainer.model.encoder(from_pixels(pixels.to(trainer.device)))
        trainer.initialize([images])
        print(f"  {name}")
        _report(interleaved(_calls(trainer, images, latents), ROUNDS))


def _calls(
    trainer: AutoencoderTrainer, images: ImageBatch, latents: Tensor
) -> dict[str, Callable[[], object]]:
    codebook = trainer.model.quantizer.codebook.detach()
    vectors = trainer.model.quantizer.residuals(latents, build_leaves(latents))
    return {
        "step": lambda: trainer.step(0, [images]),
        "structure": lambda: build_leaves(latents),
        "structure, torch": lambda: build_leaves(latents, backend="torch"),
        "nearest codes": lambda: nearest_code(vectors, codebook),
        "nearest codes, plain torch": lambda: plain(vectors, codebook),
    }


def _report(seconds: dict[str, float]) -> None:
    """Shares of the step as it is, and of what it would be with plain torch in both parts."""
    step = seconds.pop("step")
    fast = seconds["structure"] + seconds["nearest codes"]
    slow = seconds["structure, torch"] + seconds["nearest codes, plain torch"]
    before = step - fast + slow
    print(f"    step                    {step:8.4f} s, {before:.4f} s with plain torch")
    for name, value in seconds.items():
        whole = before if "torch" in name else step
        print(f"    {name:24}{value:8.4f} s = {value / whole:6.1%} of its step")
