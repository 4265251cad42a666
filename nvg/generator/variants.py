"""Ablation options (Table 3); the defaults are NVG's own choices.

Where the paper names a variant without an equation, ours stands in its docstring.
"""

from dataclasses import dataclass
from enum import StrEnum


class ContentInput(StrEnum):
    """Input of the content generator at stage i."""

    CANVAS = "canvas"
    """x_{i-1}, the canvas of the stages before."""
    NOISED = "noised"
    """x_{i-1} + t eps with t = 1 - i / (K + 1), eps from N(0, 1): early on mostly noise."""
    VARIANCE_PRESERVING = "variance-preserving"
    """sqrt(1 - t^2) x_{i-1} + t eps, the same t."""


class StructureInput(StrEnum):
    """What the structure generator starts from at stage i."""

    PARTIAL = "partial"
    """Eq. 1: known channels keep their value, only the others are noise."""
    NOISE = "noise"
    """Noise in every channel; the model predicts the known ones too."""


class Rope(StrEnum):
    """Whether structure takes part in the rotary embedding of both generators."""

    STRUCTURE = "structure"
    SPATIAL = "spatial"
    """Row and column only: structure channels rotate nothing."""


class Prediction(StrEnum):
    """What the content generator's backbone is trained to predict."""

    FINAL = "final"
    """Eq. 3: the final canvas, whose residual over a cluster gives the token's logits."""
    DIRECT = "direct"
    """Cluster means of the backbone's output give the logits; there is no canvas error."""


@dataclass(frozen=True, kw_only=True)
class Variant:
    """The choices that are the generators' own; the rotary one belongs to their transformer."""

    content_input: ContentInput = ContentInput.CANVAS
    structure_input: StructureInput = StructureInput.PARTIAL
    prediction: Prediction = Prediction.FINAL
