"""Classifier-free guidance, and noise that belongs to an image.

Legend: B image of a batch.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from nvg.sampling.config import SamplerConfig
from nvg.seeding import step_seed


class Noise:
    """Random numbers of each image, whatever batch it is sampled in."""

    def __init__(self, seed: int, indices: range, device: torch.device) -> None:
        self.device = device
        self.generators = [torch.Generator().manual_seed(step_seed(seed, i)) for i in indices]

    def normal(self, *shape: int) -> Tensor:
        """Standard normal [B, *shape]."""
        parts = [torch.randn(shape, generator=g) for g in self.generators]
        return torch.stack(parts).to(self.device)

    def uniform(self, *shape: int) -> Tensor:
        """Uniform in [0, 1) [B, *shape]."""
        parts = [torch.rand(shape, generator=g) for g in self.generators]
        return torch.stack(parts).to(self.device)


@dataclass(frozen=True)
class Guidance:
    """Classifier-free guidance for a batch of class ids."""

    label_B: Tensor
    null_class: int
    scale: float

    def __call__(self, predict: Callable[..., Tensor], *inputs: Tensor) -> Tensor:
        """predict(*inputs, label), guided: uncond + scale (cond - uncond).

        Both in one batch; no unconditional pass where the scale is 1.
        """
        if self.scale == 1.0:
            return predict(*inputs, self.label_B)
        null_B = torch.full_like(self.label_B, self.null_class)
        doubled = [torch.cat((part, part)) for part in inputs]
        conditional, unconditional = predict(*doubled, torch.cat((self.label_B, null_B))).chunk(2)
        return unconditional + self.scale * (conditional - unconditional)


def untrained_null_warnings(
    config: SamplerConfig, class_dropout_prob: float, classes: int
) -> list[str]:
    """A line where guidance would use a null class that training never saw."""
    is_guided = any(each != 1 for each in (config.content_guidance, config.structure_guidance))
    if class_dropout_prob or not classes or not is_guided:
        return []
    return [
        "guidance needs the null class, which generator.train.class_dropout_prob = 0 never "
        "trains: --set sample.content_guidance=1 --set sample.structure_guidance=1"
    ]
