"""Names, sizes and shape of the two generators; imports no torch."""

from dataclasses import dataclass, field
from enum import StrEnum

from nvg.config import require_fraction, require_positive
from nvg.generator.variants import Rope, Variant


class GeneratorKind(StrEnum):
    """Which generator."""

    CONTENT = "content"
    STRUCTURE = "structure"


@dataclass(frozen=True, kw_only=True)
class TransformerConfig:
    """Size of one generator. The paper: width 64 d (content) or 32 d (structure), 64 a head."""

    depth: int
    width: int
    heads: int
    dropout: float = 0.0
    rope: Rope = Rope.STRUCTURE

    def __post_init__(self) -> None:
        require_positive(self, "depth", "width", "heads")
        require_fraction(self, "dropout")
        if self.width % self.heads:
            raise ValueError(f"width {self.width} is not a multiple of heads {self.heads}")


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
    variant: Variant = field(default_factory=Variant)
