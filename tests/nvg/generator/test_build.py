"""Building the networks of a shape, and their sizes."""

import pytest
import torch

from nvg.generator.build import build_generator
from nvg.generator.config import GeneratorKind, GeneratorShape, TransformerConfig
from nvg.generator.content import ContentGenerator
from nvg.generator.structure_flow import StructureGenerator
from nvg.store import Store
from tests.nvg.training.generator.makers import shape_for

SMALL = TransformerConfig(depth=1, width=64, heads=2)


@pytest.mark.parametrize(
    ("part", "kind"),
    [(GeneratorKind.CONTENT, ContentGenerator), (GeneratorKind.STRUCTURE, StructureGenerator)],
)
def test_a_shape_builds_either_generator(part: GeneratorKind, kind: type, store: Store) -> None:
    """The same shape gives both networks, with the null class after the classes."""
    shape = shape_for(SMALL, store)
    model = build_generator(part, shape)
    assert isinstance(model, kind)
    assert model.backbone.null_class == shape.classes


@pytest.mark.parametrize(
    ("d", "content", "structure"), [(16, 255, 64), (20, 497, 125), (24, 856, 215)]
)
def test_paper_sizes_have_the_papers_parameters(d: int, content: int, structure: int) -> None:
    """Width 64 d and 32 d with 64 channels a head, ImageNet: within 1 % of the results table."""
    for part, width, millions in (
        (GeneratorKind.CONTENT, 64 * d, content),
        (GeneratorKind.STRUCTURE, 32 * d, structure),
    ):
        shape = GeneratorShape(
            transformer=TransformerConfig(depth=d, width=width, heads=width // 64),
            grid=16,
            classes=1000,
            codebook_size=4096,
            latent_dim=32,
            latent_scale=1.0,
        )
        with torch.device("meta"):
            model = build_generator(part, shape)
        assert sum(p.numel() for p in model.parameters()) / 1e6 == pytest.approx(millions, rel=0.01)
