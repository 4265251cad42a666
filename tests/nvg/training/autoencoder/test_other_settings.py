"""All settings that another trainer needs at once: fixed weight, half a hinge, no blur, by epoch.

Legend: C channel, L logit.
"""

import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from nvg.choices import DiscriminatorLoss, GeneratorLoss
from nvg.distributed import World
from nvg.quantizer.config import CodebookInit
from nvg.training.autoencoder import adversarial
from nvg.training.autoencoder.adversarial import DiscriminatorTrainer, Schedule
from nvg.training.autoencoder.config import (
    AutoencoderTraining,
    DiscriminatorConfig,
    DiscriminatorKind,
    LossConfig,
    PerceptualNetwork,
)
from nvg.training.autoencoder.trainer import AutoencoderTrainer
from tests.nvg.tokenizer.makers import tiny_model
from tests.nvg.training.autoencoder.reference import (
    BETAS,
    CLIP,
    DECAY,
    LECAM,
    RATE,
    SlowDiscriminator,
)
from tests.nvg.training.makers import Pictures

STEPS, EVERY, CODES = 8, 2, 16
DISCRIMINATOR = DiscriminatorConfig(
    kind=DiscriminatorKind.PATCH,
    loss=DiscriminatorLoss.HALF_HINGE,
    generator_loss=GeneratorLoss.NON_SATURATING,
    weight=0.1,
    adaptive=False,
    start=0.0,
    ramp=0.0,
    blur=False,
    consistency=0.0,
    augment=1.0,
    lecam=LECAM,
    betas=BETAS,
    weight_decay=DECAY,
    warmup=0,
)
TRAINING = AutoencoderTraining(
    steps=STEPS,
    batch_size=4,
    warmup=0,
    cosine_every=EVERY,
    betas=BETAS,
    clip=CLIP,
    ema=0.9,
    ema_warmup=False,
    codebook_init=CodebookInit.UNIFORM,
    ibq_steps=EVERY,
    loss=LossConfig(l1=1.0, l2=0.0),
    discriminator=DISCRIMINATOR,
)


class Projection(nn.Module):
    """A discriminator of one matrix: 8x8 images to four logits."""

    def __init__(self) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(5)
        self.weight = nn.Parameter(torch.randn(192, 4, generator=generator) / 4)

    def forward(self, images: Tensor) -> Tensor:
        return images.flatten(1) @ self.weight


def test_the_adversarial_part_agrees_with_a_slow_reference(monkeypatch: pytest.MonkeyPatch) -> None:
    """Both losses of every step, and the weights in the end."""
    monkeypatch.setattr(adversarial, "build_discriminator", lambda *_: Projection())
    pace = Schedule(
        steps=STEPS, lr=RATE, betas=(0.5, 0.9), weight_decay=0.0, clip=CLIP, cosine_every=EVERY
    )
    made = DiscriminatorTrainer(DISCRIMINATOR, pace, World(0, 1, torch.device("cpu")))
    slow = SlowDiscriminator(Projection().weight.detach(), STEPS, EVERY)
    for step in range(STEPS):
        torch.manual_seed(step)
        real, fake = torch.rand(2, 3, 3, 8, 8) * 2 - 1
        state = torch.get_rng_state()
        terms = made.discriminator_step(step, [(1.0, real, fake)])
        term = made.generator_loss(step, fake)
        torch.set_rng_state(state)
        assert float(terms["d_loss"]) == pytest.approx(slow.update(step, real, fake), rel=1e-4)
        assert float(term.detach()) == pytest.approx(slow.asked(fake), rel=1e-4)
        assert made.weight(step) == 0.1
    weight_CL = made.discriminator.get_parameter("weight").detach().double()
    torch.testing.assert_close(weight_CL, slow.matrix_CL, atol=1e-4, rtol=1e-4)


@pytest.mark.thorough
def test_a_training_has_them_all() -> None:
    """Rates, total loss and EMA weights of each step, from what the step tells and leaves."""
    torch.manual_seed(0)
    trainer, images = AutoencoderTrainer(tiny_model(16, CODES), TRAINING), Pictures(4, 32)
    batch = images.batch(torch.arange(4).numpy())
    trainer.initialize([batch])
    codebook_VC = trainer.model.quantizer.codebook.detach()
    assert 0.9 / CODES < float(codebook_VC.abs().max()) <= 1 / CODES
    assert trainer.discriminator is not None
    name = "encoder.to_latent.weight"
    ema = trainer.ema[name].double()
    for step in range(STEPS):
        torch.manual_seed(step)
        terms = {k: float(v.detach()) for k, v in trainer.step(step, [batch]).items()}
        assert terms["adaptive_weight"] == pytest.approx(0.1)
        assert terms["d_loss"] > 0
        total = terms["l1"] + terms["quantizer"] + 0.1 * terms["g_loss"]
        assert terms["loss"] == pytest.approx(total, rel=1e-5)
        rate = 1e-4 * (1 + math.cos(math.pi * (step // EVERY) / (STEPS // EVERY))) / 2
        for optimizer in (trainer.optimizer, trainer.discriminator.optimizer):
            for group in optimizer.param_groups:
                assert group["lr"] == pytest.approx(rate)
        ema = 0.9 * ema + 0.1 * trainer.model.get_parameter(name).detach().double()
        torch.testing.assert_close(trainer.ema[name].double(), ema, atol=1e-7, rtol=1e-5)


def test_its_discriminator_may_follow_the_autoencoder() -> None:
    """Without settings of its own it has those of the autoencoder, as it always had."""
    shared = replace(DISCRIMINATOR, betas=None, weight_decay=None, warmup=None)
    training = replace(TRAINING, weight_decay=0.25, discriminator=shared)
    trainer = AutoencoderTrainer(tiny_model(16), training)
    assert trainer.discriminator is not None
    groups = trainer.discriminator.optimizer.param_groups
    assert [(g["betas"], g["weight_decay"]) for g in groups] == [(BETAS, 0.25), (BETAS, 0)]


@pytest.mark.thorough
def test_a_training_on_efficientnet(efficientnet_package: Path) -> None:
    """As perceptual network and as discriminator: both terms act, and its weights are not saved."""
    training = replace(
        TRAINING,
        ibq_steps=0,
        loss=LossConfig(perceptual=1.0, network=PerceptualNetwork.EFFICIENTNET),
        discriminator=DiscriminatorConfig(kind=DiscriminatorKind.EFFICIENTNET, start=0.0),
    )
    torch.manual_seed(0)
    trainer = AutoencoderTrainer(tiny_model(16, CODES), training)
    batch = Pictures(4, 32).batch(torch.arange(4).numpy())
    trainer.initialize([batch])
    told = [trainer.step(step, [batch]) for step in range(2)]
    assert all(math.isfinite(float(value)) for each in told for value in each.values())
    assert float(told[0]["perceptual"]) > 0
    assert float(told[1]["d_norm"]) > 0
    assert trainer.discriminator is not None
    assert {n.split(".")[1] for n in trainer.discriminator.state_dict() if "." in n} == {"heads"}
