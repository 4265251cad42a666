"""Settings of sampling, and their schedules over the stages (Appendix A.5). Nothing needs torch."""

import math
from dataclasses import dataclass
from enum import StrEnum


class Solver(StrEnum):
    """How the flow is integrated; midpoint and heun take two function evaluations a step."""

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
    """Top-p at the last stage; 1 at the first, falling with the logarithm of the stage."""
    top_k: int = 0
    """Sample from the k likeliest tokens; 0 for all."""
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
    """Top-p of a stage: 1 at stage 0, `last` at K, logarithmic between (our reading of A.5)."""
    return 1.0 - (1.0 - last) * math.log1p(stage) / math.log1p(K)
