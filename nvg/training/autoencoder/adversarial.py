"""The adversarial part of the autoencoder's training (A.5): discriminator and its term.

Legend: B image of a batch, D row or column of pixels or of the grid, L logit.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nvg.choices import DiscriminatorLoss, GeneratorLoss
from nvg.distributed import World
from nvg.training.autoencoder.buffers import MeanBuffers
from nvg.training.autoencoder.config import DiscriminatorConfig
from nvg.training.autoencoder.diffaugment import augment, blur
from nvg.training.autoencoder.discriminator import build_discriminator
from nvg.training.autoencoder.losses import add_terms
from nvg.training.checkpoint import file_of, load_optimizer, optimizer_bytes
from nvg.training.optim import adamw, cosine, gradients, set_lr
from nvg.weights import load_weights, weights_bytes

LECAM_DECAY = 0.999
TERMS = ("d_loss", "d_real", "d_fake", "d_consistency", "d_lecam")
MIN_ADAPTIVE, MAX_ADAPTIVE = 0.015, 1e4  # as in VAR's tokenizer trainer


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """Length, optimizer settings and clipping, shared with the autoencoder."""

    steps: int
    lr: float
    betas: tuple[float, float]
    weight_decay: float
    clip: float
    cosine_every: int = 1


class DiscriminatorTrainer(nn.Module):
    """A discriminator with its optimizer and schedule, in step with the other processes."""

    mean_real: Tensor
    mean_fake: Tensor

    def __init__(self, config: DiscriminatorConfig, schedule: Schedule, world: World) -> None:
        super().__init__()
        self.config, self.schedule, self.world = config, schedule, world
        self.discriminator = build_discriminator(config.kind, config.model, config.weights)
        for name in ("mean_real", "mean_fake"):
            self.register_buffer(name, torch.zeros(()))
        self.to(world.device)
        betas, decay = schedule.betas, schedule.weight_decay
        if config.betas is not None:
            betas = (config.betas[0], config.betas[1])
        if config.weight_decay is not None:
            decay = config.weight_decay
        self.optimizer = adamw(self.discriminator, schedule.lr, betas, decay)
        self.begin = round(config.start * schedule.steps)
        self.grow = max(round(config.ramp * schedule.steps), 1)
        self.warmup = self.grow if config.warmup is None else config.warmup

    def weight(self, step: int) -> float:
        """Weight of the term before adaptation: 0 until it begins, then a ramp."""
        return self.config.weight * min(max((step - self.begin + 1) / self.grow, 0.0), 1.0)

    def has_begun(self, step: int) -> bool:
        """Whether the discriminator takes part in a step."""
        return step >= self.begin

    def discriminator_step(
        self, step: int, pairs: Iterable[tuple[float, Tensor, Tensor]]
    ) -> dict[str, Tensor]:
        """One step of the discriminator on micro-batches: share, images and reconstructions
        [B, 3, D, D]. Its mean terms, zeros before it begins. Collective.
        """
        if not self.has_begun(step):
            return dict.fromkeys((*TERMS, "d_norm"), self.mean_real.new_zeros(()))
        self.discriminator.requires_grad_(True)
        set_lr(self.optimizer, self.schedule.lr * self._factor(step))
        self.optimizer.zero_grad(set_to_none=True)
        found: dict[str, Tensor] = {}
        buffers = MeanBuffers(self)
        for share, real, fake in pairs:
            with buffers.part(share):
                terms = self._terms(step, real, fake)
                (share * terms["d_loss"]).backward()
            add_terms(found, terms, share)
        self.world.sum([*gradients(self.discriminator), *found.values(), *buffers.sums])
        buffers.settle()
        norm = nn.utils.clip_grad_norm_(self.discriminator.parameters(), self.schedule.clip)
        self.optimizer.step()
        return {**found, "d_norm": norm.detach()}

    def _terms(self, step: int, real: Tensor, fake: Tensor) -> dict[str, Tensor]:
        """Hinge loss (see `DiscriminatorLoss`), consistency, LeCam; `d_loss` is minimized."""
        both = torch.cat((real, fake.detach()))
        logit_BL = self._logits(step, both)
        real_BL, fake_BL = logit_BL.chunk(2)
        hinge = F.relu(1 - real_BL).mean() + F.relu(1 + fake_BL).mean()
        if self.config.loss is DiscriminatorLoss.HALF_HINGE:
            hinge = hinge / 2
        apart = logit_BL.new_zeros(())
        if self.config.consistency:
            apart = F.mse_loss(self._logits(step, both), logit_BL)
        lecam = self._lecam(real_BL, fake_BL)
        loss = hinge + self.config.consistency * apart + self.config.lecam * lecam
        found = (loss, real_BL.mean(), fake_BL.mean(), apart, lecam)
        return dict(zip(TERMS, found, strict=True))

    def generator_loss(self, step: int, fake: Tensor) -> Tensor:
        """What the autoencoder minimizes of its reconstructions' logits, see `GeneratorLoss`."""
        if not self.has_begun(step):
            return fake.new_zeros(())
        self.discriminator.requires_grad_(False)
        logit_BL = self._logits(step, fake)
        if self.config.generator_loss is GeneratorLoss.NON_SATURATING:
            return F.softplus(-logit_BL.mean(1)).mean()
        return -logit_BL.mean()

    def adaptive_weight(self, loss: Tensor, term: Tensor, layer: nn.Parameter) -> Tensor:
        """VQGAN: norm of the loss's gradient at the decoder's last layer over that of the term."""
        if not (self.config.adaptive and term.requires_grad and layer.requires_grad):
            return loss.new_ones(())
        ours, theirs = (
            torch.autograd.grad(each, layer, retain_graph=True)[0].norm() for each in (loss, term)
        )
        return (ours / (theirs + 1e-6)).clamp(MIN_ADAPTIVE, MAX_ADAPTIVE).detach()

    def files(self) -> dict[str, bytes]:
        """Weights, LeCam's running means and optimizer state."""
        return {
            "discriminator.safetensors": weights_bytes(self.state_dict(), self.config),
            "discriminator-optimizer.safetensors": optimizer_bytes(self.optimizer),
        }

    def restore(self, checkpoint: Path) -> None:
        """Load what `files` saved."""
        load_weights(self, file_of(checkpoint, "discriminator.safetensors"))
        optimizer = file_of(checkpoint, "discriminator-optimizer.safetensors")
        load_optimizer(self.optimizer, optimizer)

    def _logits(self, step: int, images: Tensor) -> Tensor:
        """Logits [B, L] of images, augmented and blurred by the schedule."""
        if torch.rand(()) < self.config.augment:
            images = augment(images)
        if self.config.blur:
            faded = (step - self.begin) / (2 * self.grow)
            sigma = (images.shape[-1] / 2) ** 0.5 * max(1 - faded, 0.0)
            images = blur(images, sigma)
        logits: Tensor = self.discriminator(images)
        return logits.float()

    def _factor(self, step: int) -> float:
        """Learning-rate factor: a cosine of its own, from its first step to the last."""
        schedule = self.schedule
        return cosine(step, schedule.steps, self.warmup, schedule.cosine_every, self.begin)

    def _lecam(self, real_BL: Tensor, fake_BL: Tensor) -> Tensor:
        """Logits beyond the other side's running mean, squared (Tseng et al. 2021)."""
        with torch.no_grad():
            for mean, logits in ((self.mean_real, real_BL), (self.mean_fake, fake_BL)):
                mean.lerp_(logits.mean(), 1 - LECAM_DECAY)
        beyond = F.relu(real_BL - self.mean_fake).square().mean()
        return beyond + F.relu(self.mean_real - fake_BL).square().mean()
