"""Micro-batches of the autoencoder against whole batches."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from nvg.training.autoencoder.config import (
    AutoencoderTraining,
    DiscriminatorConfig,
    DiscriminatorKind,
    LossConfig,
)
from nvg.training.autoencoder.trainer import AutoencoderTrainer
from nvg.training.late_metrics import Metrics
from tests.nvg.tokenizer.makers import tiny_model
from tests.nvg.training.makers import Pictures, differing

PLAIN = AutoencoderTraining(steps=8, batch_size=7, warmup=1, ibq_steps=1)
PARTS = {1: [7], 2: [4, 3], 3: [3, 2, 2]}
ADVERSARIAL = DiscriminatorConfig(
    kind=DiscriminatorKind.PATCH, start=0.0, adaptive=False, augment=0.0, blur=False
)


def trained(training: AutoencoderTraining, grid: int = 4) -> tuple[Metrics, AutoencoderTrainer]:
    """After a step of seven images: its metrics, and the trainer, which still has the gradients."""
    torch.manual_seed(0)
    trainer = AutoencoderTrainer(tiny_model(grid), training)
    batch = Pictures(7, 2 * grid).batch(torch.arange(7).numpy())
    if trainer.discriminator:  # its batch norms would tell micro-batches from the whole
        trainer.discriminator.discriminator.eval()
        for group in trainer.discriminator.optimizer.param_groups:
            # Adam's first step would be a sign, also of gradients that are a rounding away from 0.
            group["eps"] = 0.01
    return trainer.step(0, batch.split(PARTS[training.accumulate])), trainer


def gradients(module: nn.Module) -> dict[str, Tensor]:
    """Of every parameter that has one."""
    return {n: p.grad for n, p in module.named_parameters() if p.grad is not None}


def require_close(one: nn.Module, other: nn.Module) -> None:
    """Gradients agree but for the order of sums, measured by the largest one."""
    first, second = gradients(one), gradients(other)
    assert first.keys() == second.keys()
    most = max(float(value.abs().max()) for value in first.values())
    for name, value in first.items():
        torch.testing.assert_close(value, second[name], atol=2e-6 * most, rtol=1e-4)


def numbers(metrics: Metrics) -> dict[str, float]:
    return {name: float(value.detach()) for name, value in metrics.items()}


@pytest.mark.thorough
def test_parts_make_the_step_of_the_batch() -> None:
    """Of sizes 3, 2 and 2: the losses are means over images, so metrics and gradients agree."""
    whole, one = trained(PLAIN)
    parts, other = trained(replace(PLAIN, accumulate=3))
    assert numbers(whole) == pytest.approx(numbers(parts), rel=1e-5, abs=1e-7)
    require_close(one.model, other.model)


@pytest.mark.thorough
def test_the_discriminator_sees_all_parts_first() -> None:
    """It is updated once, on all reconstructions, before the autoencoder's loss asks it."""
    training = replace(PLAIN, discriminator=ADVERSARIAL)
    whole, one = trained(training, grid=16)
    parts, other = trained(replace(training, accumulate=3), grid=16)
    assert numbers(whole) == pytest.approx(numbers(parts), rel=1e-4, abs=1e-6)
    assert float(whole["d_loss"]) > 0
    assert one.discriminator
    assert other.discriminator
    require_close(one.discriminator, other.discriminator)
    require_close(one.model, other.model)


@pytest.mark.thorough
def test_recomputing_changes_no_step() -> None:
    """With the adaptive weight, which asks the last layer first: equal to the bit."""
    training = replace(
        PLAIN,
        accumulate=2,
        discriminator=replace(ADVERSARIAL, adaptive=True, augment=1.0, lecam=0.05),
        loss=LossConfig(entropy=0.05),
        dead_code_after=1,
    )
    plain, one = trained(training, grid=16)
    again, other = trained(replace(training, checkpoint_activations=True), grid=16)
    assert numbers(plain) == numbers(again)
    first, second = one.model.state_dict(), other.model.state_dict()
    assert differing(first, second) == []
