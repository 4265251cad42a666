"""A discriminator's training, slow and obvious: loops over logits in float64, AdamW by hand.

Legend: C channel, L logit.
"""

import math

import torch
from torch import Tensor

from nvg.training.autoencoder.diffaugment import augment

BETAS, DECAY, CLIP = (0.9, 0.95), 5e-4, 1.0
LECAM, RATE = 0.001, 0.01


class SlowDiscriminator:
    """One matrix that maps an image to a few logits; half a hinge, LeCam, a cosine by epoch."""

    def __init__(self, matrix_CL: Tensor, steps: int, every: int) -> None:
        self.matrix_CL = matrix_CL.double()
        self.first_CL = self.second_CL = torch.zeros_like(self.matrix_CL)
        self.mean_real = self.mean_fake = 0.0
        self.steps, self.every, self.updates = steps, every, 0

    def update(self, step: int, real: Tensor, fake: Tensor) -> float:
        """One step on images, drawn from torch's generator as the trainer does; the loss."""
        assert float(torch.rand(())) < 1  # the toss for the augmentation
        images = augment(torch.cat((real, fake)))
        matrix_CL = self.matrix_CL.clone().requires_grad_()
        logit_BL = [image.double().flatten() @ matrix_CL for image in images]
        reals, fakes = (
            [x for row in half for x in row.tolist()] for half in self._halves(logit_BL)
        )
        self.mean_real = 0.999 * self.mean_real + 0.001 * sum(reals) / len(reals)
        self.mean_fake = 0.999 * self.mean_fake + 0.001 * sum(fakes) / len(fakes)
        loss, zero = torch.zeros((), dtype=torch.float64), torch.zeros((), dtype=torch.float64)
        for is_fake, half in enumerate(self._halves(logit_BL)):
            for logit in (x for row in half for x in row):
                sign, other = (-1, self.mean_real) if is_fake else (1, self.mean_fake)
                hinge = torch.maximum(1 - sign * logit, zero) / 2
                beyond = torch.maximum(sign * (logit - other), zero) ** 2
                loss = loss + (hinge + LECAM * beyond) / len(reals)
        loss.backward()
        assert matrix_CL.grad is not None
        self._adamw(matrix_CL.grad, RATE * self.factor(step))
        return float(loss.detach())

    def factor(self, step: int) -> float:
        """Half a cosine over the epochs, the same within one."""
        return (1 + math.cos(math.pi * (step // self.every) / (self.steps // self.every))) / 2

    def asked(self, fake: Tensor) -> float:
        """The non-saturating term of reconstructions."""
        assert float(torch.rand(())) < 1
        terms = []
        for image in augment(fake):
            logits = (image.double().flatten() @ self.matrix_CL).tolist()
            terms.append(math.log(1 + math.exp(-sum(logits) / len(logits))))
        return sum(terms) / len(terms)

    def _halves(self, rows: list[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
        return rows[: len(rows) // 2], rows[len(rows) // 2 :]

    def _adamw(self, grad_CL: Tensor, rate: float) -> None:
        self.updates += 1
        grad_CL = grad_CL * min(1, CLIP / float(grad_CL.norm()))
        self.first_CL = BETAS[0] * self.first_CL + (1 - BETAS[0]) * grad_CL
        self.second_CL = BETAS[1] * self.second_CL + (1 - BETAS[1]) * grad_CL**2
        first_CL = self.first_CL / (1 - BETAS[0] ** self.updates)
        second_CL = self.second_CL / (1 - BETAS[1] ** self.updates)
        decayed_CL = self.matrix_CL * (1 - rate * DECAY)
        self.matrix_CL = decayed_CL - rate * first_CL / (second_CL.sqrt() + 1e-8)
