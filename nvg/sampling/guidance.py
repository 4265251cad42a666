"""How sampling is steered: schedules over the stages, guidance, and noise that belongs to an image.

Legend: B image of a batch.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

import torch
from torch import Tensor

from nvg.seeding import step_seed


class Solver(StrEnum):
    """How the flow is integrated; midpoint and heun ask the model twice a step."""

    EULER = "euler"
    MIDPOINT = "midpoint"
    HEUN = "heun"


@dataclass(frozen=True, kw_only=True)
class SamplerConfig:
    """Schedules over the stages; the defaults are the paper's."""

    content_guidance: float = 3.5
    """Classifier-free guidance of the content at the last stage; 1 at the first, linear between."""
    structure_guidance: float = 2.5
    """The same for the structure."""
    top_p: float = 0.5
    """Nucleus at the last stage; 1 at the first, falling with the logarithm of the stage."""
    top_k: int = 0
    """Most tokens a draw chooses from, 0 for all."""
    temperature: float = 1.0
    """Logits are divided by it."""
    flow_steps: int = 25
    """Steps per structure stage."""
    solver: Solver = Solver.EULER

    def __post_init__(self) -> None:
        if self.top_k < 0:
            raise ValueError(f"top_k must be at least 0, not {self.top_k}")
        if self.temperature <= 0:
            raise ValueError(f"temperature must be positive, not {self.temperature}")
        if self.content_guidance < 0 or self.structure_guidance < 0:
            raise ValueError("guidance must not be negative")
        if not 0 < self.top_p <= 1:
            raise ValueError(f"top_p must be in (0, 1], not {self.top_p}")
        if self.flow_steps < 1:
            raise ValueError(f"flow_steps must be at least 1, not {self.flow_steps}")


def guidance_at(stage: int, K: int, last: float) -> float:
    """CFG scale of a stage: linear from 1 to `last` (A.5)."""
    return 1.0 + (last - 1.0) * stage / K


def top_p_at(stage: int, K: int, last: float) -> float:
    """Nucleus of a stage: 1 at stage 0, `last` at K, logarithmic between (our reading of A.5)."""
    return 1.0 - (1.0 - last) * math.log1p(stage) / math.log1p(K)


class Noise:
    """Random numbers that belong to each image: independent of the batch it is drawn in."""

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
