"""A generator of a shape: the one place that knows both networks."""

from nvg.generator.config import GeneratorKind, GeneratorShape
from nvg.generator.content import ContentGenerator
from nvg.generator.generator import Generator
from nvg.generator.structure_flow import StructureGenerator
from nvg.geometry import Geometry


def build_generator(part: GeneratorKind, shape: GeneratorShape) -> Generator:
    """A fresh generator of this shape."""
    geometry = Geometry(shape.grid)
    if part is GeneratorKind.STRUCTURE:
        return StructureGenerator(
            shape.transformer,
            geometry,
            shape.classes,
            shape.latent_dim,
            shape.latent_scale,
            shape.variant.structure_input,
        )
    return ContentGenerator(
        shape.transformer,
        geometry,
        shape.classes,
        shape.codebook_size,
        shape.latent_dim,
        shape.latent_scale,
        shape.variant.content_input,
        shape.variant.prediction,
    )
