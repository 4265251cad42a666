"""The two generators as one thing: their names, their shape for a store, how they are built.

Legend: B image of a batch, N position.
"""

from dataclasses import dataclass, field
from enum import StrEnum

from nvg.generator.backbone import TransformerConfig
from nvg.generator.content import ContentGenerator
from nvg.generator.generator import Generator
from nvg.generator.structure_flow import StructureGenerator
from nvg.generator.variants import Variant
from nvg.geometry import Geometry


class GeneratorKind(StrEnum):
    """Which generator."""

    CONTENT = "content"
    STRUCTURE = "structure"


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

    def build(self, part: GeneratorKind) -> Generator:
        """A fresh generator of this shape."""
        geometry = Geometry(self.grid)
        if part is GeneratorKind.STRUCTURE:
            return StructureGenerator(
                self.transformer,
                geometry,
                self.classes,
                self.latent_dim,
                self.latent_scale,
                self.variant.structure_input,
            )
        return ContentGenerator(
            self.transformer,
            geometry,
            self.classes,
            self.codebook_size,
            self.latent_dim,
            self.latent_scale,
            self.variant.content_input,
            self.variant.prediction,
        )
