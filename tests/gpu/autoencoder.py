"""An autoencoder training step at 256x256 with each loss that needs no file: time and memory."""

import torch

from nvg.errors import InputError
from nvg.pretrained.names import RANDOM
from nvg.tokenizer.config import AutoencoderConfig
from nvg.tokenizer.image_batch import ImageBatch
from nvg.training.autoencoder.config import (
    AutoencoderTraining,
    DiscriminatorConfig,
    DiscriminatorKind,
    LossConfig,
)
from nvg.training.autoencoder.trainer import AutoencoderTrainer
from tests.gpu.report import Report, Setting
from tests.gpu.timing import peak_gib, reset_peak, seconds

BATCHES, TINY_BATCHES, ROUNDS = (16, 32), (2,), 3
TINY = AutoencoderConfig(  # the smallest that the patch discriminator can look at
    image_size=32,
    base_channels=8,
    multipliers=(1, 2, 2),
    blocks=1,
    attention=False,
    latent_dim=4,
    codebook_size=16,
)
PATCH = DiscriminatorConfig(kind=DiscriminatorKind.PATCH, start=0.0)
LPIPS = LossConfig(perceptual=1.0, vgg=RANDOM)
CASES = {
    "L1 and L2": AutoencoderTraining(),
    "with entropy": AutoencoderTraining(loss=LossConfig(entropy=0.1)),
    "with patch discriminator": AutoencoderTraining(discriminator=PATCH),
    "with LPIPS": AutoencoderTraining(loss=LPIPS),
}


def run(setting: Setting, report: Report) -> None:
    """All of the part."""
    config = TINY if setting.tiny else AutoencoderConfig()
    side = config.image_size
    for batch in TINY_BATCHES if setting.tiny else BATCHES:
        generator = torch.Generator().manual_seed(0)
        pixels = torch.randint(0, 256, (batch, 3, side, side), generator=generator).byte()
        images = ImageBatch(pixels.numpy())
        for name, training in CASES.items():
            if report.has_time(4, f"{name}, B = {batch}"):
                _steps(setting, report, f"{name}, B = {batch}", images, config, training)


def _steps(
    setting: Setting,
    report: Report,
    name: str,
    images: ImageBatch,
    config: AutoencoderConfig,
    training: AutoencoderTraining,
) -> None:
    """Some steps from fresh weights; their losses must be finite."""
    torch.manual_seed(0)
    try:
        trainer = AutoencoderTrainer(config, training)
    except InputError as error:  # a library that is not there
        report.note(f"{name}: {error}")
        return
    trainer.initialize([images])
    numbers = iter(range(training.steps))
    losses = []

    def step() -> None:
        losses.append(trainer.step(next(numbers), [images])["loss"])

    reset_peak(setting.device)
    taken = seconds(step, setting.device, 1 if setting.tiny else ROUNDS, warm=1)
    report.figure(name, 1000 * taken, "ms a step")
    report.figure(f"{name}, peak memory", peak_gib(setting.device), "GiB")
    is_finite = bool(torch.stack([loss.detach() for loss in losses]).isfinite().all())
    report.check(f"{name}: losses are finite", is_finite)
