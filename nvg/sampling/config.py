"""Settings of sampling, and their schedules over the stages (Appendix A.5). Nothing needs torch."""

import itertools
import math
from dataclasses import dataclass
from enum import StrEnum

from nvg.choices import FlowNoise, LastSplit, ParentSplit, StructureGuidance, TimeGrid, TopPCurve
from nvg.config import require_not_negative, require_positive

SHIFT_256, SHIFT_4096 = 0.5, 1.15  # of the shifted time grid, at so many positions
BATCH = 64  # images sampled at once, where nothing is said
MANY = 2048  # images from which compiling should pay on a GPU; an estimate, not measured


class Compile(StrEnum):
    """Whether the networks are compiled before they sample, and replayed as CUDA graphs."""

    AUTO = "auto"
    """On a GPU: graphs always, compiled for many images."""
    ON = "on"
    OFF = "off"

    def wants(self, device: str, images: int) -> bool:
        """Whether they are compiled for so many images on a type of device."""
        return self is Compile.ON or (self is Compile.AUTO and device == "cuda" and images >= MANY)

    def wants_graphs(self, device: str) -> bool:
        """Whether a type of device replays graphs; recording takes as long as a few passes."""
        return self is not Compile.OFF and device == "cuda"


class Solver(StrEnum):
    """How the flow is integrated; midpoint and heun take two function evaluations a step."""

    EULER = "euler"
    MIDPOINT = "midpoint"
    HEUN = "heun"


@dataclass(frozen=True, kw_only=True)
class SamplerConfig:
    """Schedules over the stages; the defaults are the paper's."""

    content_guidance: float = 3.5
    """Classifier-free guidance of the content at the last stage; 1 at the first, linear between.
    [A.5]"""
    structure_guidance: float = 2.5
    """The same for the structure. [A.5]"""
    top_p: float = 0.5
    """Top-p at the last stage; 1 at the first, falling with the logarithm of the stage. [A.5]"""
    top_k: int = 0
    """Sample from the k likeliest tokens; 0 for all."""
    temperature: float = 1.0
    """Logits are divided by it."""
    flow_steps: int = 25
    """Steps per structure stage. [A.5]"""
    solver: Solver = Solver.EULER
    """[A.4]"""
    split: ParentSplit = ParentSplit.GUMBEL
    """[Sec. 2.2.1]"""
    last_split: LastSplit = LastSplit.POSITION
    top_p_curve: TopPCurve = TopPCurve.EARLY
    time_grid: TimeGrid = TimeGrid.UNIFORM
    flow_noise: FlowNoise = FlowNoise.FRESH
    structure_guidance_of: StructureGuidance = StructureGuidance.OWN

    def __post_init__(self) -> None:
        require_not_negative(self, "top_k", "content_guidance", "structure_guidance")
        if not 0 < self.temperature < math.inf:
            raise ValueError(f"temperature must be positive, not {self.temperature}")
        if not 0 < self.top_p <= 1:
            raise ValueError(f"top_p must be in (0, 1], not {self.top_p}")
        is_shared = self.flow_noise is FlowNoise.SHARED
        if self.last_split is LastSplit.NOISE and not is_shared:
            raise ValueError('last_split "noise" needs flow_noise "shared": it is that noise')
        require_positive(self, "flow_steps")


def guidance_at(stage: int, K: int, last: float) -> float:
    """CFG scale of a stage: linear from 1 to `last` (A.5)."""
    return 1.0 + (last - 1.0) * stage / K


def structure_guidance_at(stage: int, K: int, config: SamplerConfig) -> float:
    """CFG scale of the structure of a stage, 1 <= stage < K."""
    is_parent = config.structure_guidance_of is StructureGuidance.PARENT
    return guidance_at(stage - is_parent, K, config.structure_guidance)


def top_p_at(stage: int, K: int, last: float, curve: TopPCurve = TopPCurve.EARLY) -> float:
    """Top-p of a stage: 1 at stage 0, `last` at K, by a curve between (A.5)."""
    if curve is TopPCurve.LATE and K > 1:
        return last + (1.0 - last) * (K - K ** (stage / K)) / (K - 1)
    return 1.0 - (1.0 - last) * math.log1p(stage) / math.log1p(K)


def flow_steps(steps: int, positions: int, grid: TimeGrid) -> list[tuple[float, float]]:
    """Time and size of each of the flow's steps, from noise at time 1 to data at time 0."""
    size = 1 / steps
    times = [1 - n * size for n in range(steps)]
    if grid is TimeGrid.UNIFORM:
        return [(time, size) for time in times]
    slope = (SHIFT_4096 - SHIFT_256) / (4096 - 256)
    factor = math.exp(SHIFT_256 + slope * (positions - 256))
    shifted = [factor * t / (factor * t + 1 - t) for t in (*times, 0.0)]
    return [(time, time - following) for time, following in itertools.pairwise(shifted)]
