"""The two generators as one thing: their names, their shape for a store, how they are built.

Legend: B image, N position.
"""

from dataclasses import dataclass, field
from enum import StrEnum

from safetensors.torch import load as load_tensors

from nvg.backbone import TransformerConfig
from nvg.content import ContentGenerator
from nvg.geometry import Geometry
from nvg.quantizer import MultiGranularityQuantizer
from nvg.store import Store
from nvg.structure_flow import StructureGenerator
from nvg.switches import Variant

Generator = ContentGenerator | StructureGenerator


class Part(StrEnum):
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

    def build(self, part: Part) -> Generator:
        """A fresh generator of this shape."""
        geometry = Geometry(self.grid)
        if part is Part.STRUCTURE:
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


def shape_of(
    transformer: TransformerConfig, store: Store, variant: Variant | None = None
) -> GeneratorShape:
    """The shape of one generator for a store."""
    facts = store.manifest
    return GeneratorShape(
        transformer=transformer,
        grid=facts["grid"],
        classes=len(facts["classes"]),
        codebook_size=facts["codebook_size"],
        latent_dim=facts["latent_dim"],
        latent_scale=float(store_quantizer(store).codebook.square().mean().sqrt()),
        variant=variant or Variant(),
    )


def store_quantizer(store: Store) -> MultiGranularityQuantizer:
    """The store's own codebook and refiners, frozen: all that training needs of the tokenizer."""
    facts = store.manifest
    quantizer = MultiGranularityQuantizer(
        facts["codebook_size"], facts["latent_dim"], store.geometry
    )
    quantizer.load_state_dict(load_tensors(store.read("tokenizer.safetensors")))
    return quantizer.requires_grad_(False).eval()
