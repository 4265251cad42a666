"""Names, sizes and shape of the two generators; imports no torch."""

import math
from dataclasses import dataclass, field
from enum import StrEnum

from nvg.choices import (
    CanvasCondition,
    CanvasScale,
    ContentInput,
    ContentStart,
    FlowLoss,
    FlowNoise,
    FlowTime,
    Initialisation,
    Prediction,
    Rope,
    Skip,
    StructureInput,
    StructureValues,
    TokenKinds,
)
from nvg.config import MOST_BLOCKS, MOST_CHANNELS, require_fraction, require_size
from nvg.geometry import Geometry


class GeneratorKind(StrEnum):
    """Which generator."""

    CONTENT = "content"
    STRUCTURE = "structure"


@dataclass(frozen=True, kw_only=True)
class TransformerConfig:
    """Size of one generator. The paper: width 64 d (content) or 32 d (structure), 64 a head."""

    depth: int
    """Blocks."""
    width: int
    """Channels of a token. The paper: 64 a block for content, 32 for structure. [A.4]"""
    heads: int
    """Heads of attention, which divide the width."""
    dropout: float = 0.0
    """In attention and MLP. [A.4]"""
    drop_path: float = 0.0
    """Probability that the last block leaves an image's tokens as they are; it rises linearly from
    0 at the first (stochastic depth)."""
    rope: Rope = Rope.STRUCTURE
    """[Table 3]"""

    def __post_init__(self) -> None:
        require_size(self, MOST_BLOCKS, "depth")
        require_size(self, MOST_CHANNELS, "width", "heads")
        require_fraction(self, "dropout", "drop_path")
        if self.drop_path == 1:
            raise ValueError("drop_path must be less than 1")
        if self.width % self.heads:
            raise ValueError(f"width {self.width} is not a multiple of heads {self.heads}")


@dataclass(frozen=True, kw_only=True)
class Variant:
    """The generators' own choices; the rotary one belongs to their transformer."""

    content_input: ContentInput = ContentInput.CANVAS
    """[Table 3]"""
    structure_input: StructureInput = StructureInput.PARTIAL
    """[Table 3]"""
    prediction: Prediction = Prediction.FINAL
    """[Table 3]"""
    canvas_scale: CanvasScale = CanvasScale.CODEBOOK
    content_start: ContentStart = ContentStart.ZEROS
    skip: Skip = Skip.CANVAS
    token_kinds: TokenKinds = TokenKinds.COUNTED
    initialisation: Initialisation = Initialisation.ZERO
    canvas_condition: CanvasCondition = CanvasCondition.CHANNELS
    structure_values: StructureValues = StructureValues.BITS
    flow_loss: FlowLoss = FlowLoss.UNKNOWN
    flow_time: FlowTime = FlowTime.UNIFORM
    flow_noise: FlowNoise = FlowNoise.FRESH
    """In training, where several stages of an image are trained in one step."""
    time_frequencies: int = 256
    """Sinusoids of the flow's time, half of them cosines; 64 in the release."""

    def __post_init__(self) -> None:
        require_size(self, MOST_CHANNELS, "time_frequencies")
        if self.time_frequencies % 2:
            raise ValueError(f"time_frequencies must be even, not {self.time_frequencies}")


RELEASE = Variant(
    canvas_scale=CanvasScale.STAGE,
    content_start=ContentStart.LEARNT,
    skip=Skip.NONE,
    token_kinds=TokenKinds.RELEASE,
    initialisation=Initialisation.XAVIER,
    canvas_condition=CanvasCondition.TOKENS,
    structure_values=StructureValues.CENTRED,
    flow_loss=FlowLoss.ALL,
    flow_time=FlowTime.LOGIT_NORMAL,
    flow_noise=FlowNoise.SHARED,
    time_frequencies=64,
)
"""The choices of the authors' release."""


@dataclass(frozen=True, kw_only=True)
class GeneratorShape:
    """What a generator needs to know of the store it was trained on."""

    transformer: TransformerConfig
    grid: int
    classes: int
    codebook_size: int
    latent_dim: int
    latent_scale: float
    """Root mean square of the codebook: the unit canvases are measured in."""
    canvas_rms: tuple[float, ...] = ()
    """Root mean square of the canvas before each stage and of the final one, where the variant's
    canvas scale is per stage; the first, of an empty canvas, is 1."""
    variant: Variant = field(default_factory=Variant)

    def __post_init__(self) -> None:
        for scale in (self.latent_scale, *self.canvas_rms):
            if not 0 < scale < math.inf:
                raise ValueError(f"latent_scale and canvas_rms must be positive, not {scale}")
        stages = Geometry(self.grid).stages
        per_stage = self.variant.canvas_scale is CanvasScale.STAGE
        if len(self.canvas_rms) != (stages + 1 if per_stage else 0):
            raise ValueError(
                f"canvas_rms has {len(self.canvas_rms)} numbers: a canvas scale of "
                f"{self.variant.canvas_scale} needs {stages + 1 if per_stage else 'none'}"
            )


def canvas_unit(shape: GeneratorShape) -> float:
    """What canvases, residuals and errors are divided by, but for a content generator's input and
    output where their scale is per stage."""
    is_codebook = shape.variant.canvas_scale is CanvasScale.CODEBOOK
    return shape.latent_scale if is_codebook else 1.0
