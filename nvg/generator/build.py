"""A generator of a shape: the one place that knows both networks."""

from nvg.choices import Initialisation
from nvg.generator.config import GeneratorKind, GeneratorShape
from nvg.generator.content import ContentGenerator
from nvg.generator.generator import Generator
from nvg.generator.layers import initialize_xavier
from nvg.generator.structure_flow import StructureGenerator


def build_generator(part: GeneratorKind, shape: GeneratorShape) -> Generator:
    """A fresh generator of this shape."""
    is_structure = part is GeneratorKind.STRUCTURE
    model: Generator = StructureGenerator(shape) if is_structure else ContentGenerator(shape)
    if shape.variant.initialisation is Initialisation.XAVIER:
        initialize_xavier(model)
    return model
