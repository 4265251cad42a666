"""A training with every loss on."""

from pathlib import Path

from nvg.pretrained.names import RANDOM
from nvg.training.autoencoder.config import (
    AutoencoderTraining,
    DiscriminatorConfig,
    DiscriminatorKind,
    LossConfig,
)
from tests.nvg.pretrained.makers import VIT


def everything(kind: DiscriminatorKind, weights: Path) -> AutoencoderTraining:
    """Eight steps with all terms; the discriminator begins after two."""
    discriminator = DiscriminatorConfig(
        kind=kind, weights=str(weights), model=VIT, start=0.25, ramp=0.25, lecam=0.05
    )
    return AutoencoderTraining(
        steps=8,
        batch_size=4,
        warmup=1,
        log_every=1,
        checkpoint_every=4,
        ibq_steps=3,
        dead_code_after=2,
        loss=LossConfig(perceptual=1.0, vgg=RANDOM, entropy=0.05),
        discriminator=discriminator,
    )
