"""Building the networks of a shape, and their sizes."""

import pytest
import torch
from torch import nn

from nvg.choices import Initialisation, TokenKinds
from nvg.generator.backbone import STRUCTURE, Backbone
from nvg.generator.build import build_generator
from nvg.generator.config import GeneratorKind, GeneratorShape, TransformerConfig, Variant
from nvg.generator.content import ContentGenerator
from nvg.generator.structure_flow import StructureGenerator
from nvg.store import Store
from tests.nvg.generator.makers import RELEASED, RMS, SMALL, make_shape
from tests.nvg.training.generator.makers import shape_for


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


@pytest.mark.parametrize("part", list(GeneratorKind))
@pytest.mark.parametrize(
    "shape",
    [
        make_shape(variant=Variant(initialisation=Initialisation.XAVIER)),
        make_shape(variant=RELEASED, canvas_rms=RMS),
    ],
    ids=["alone", "release"],
)
def test_xavier_fills_all_but_the_biases(part: GeneratorKind, shape: GeneratorShape) -> None:
    """Linears uniform in +-sqrt(6 / (in + out)), biases 0, embeddings of std 0.02."""
    torch.manual_seed(0)
    model = build_generator(part, shape)
    zero = set()
    for name, layer in model.named_modules():
        if isinstance(layer, nn.Linear):
            limit = (6 / (layer.in_features + layer.out_features)) ** 0.5
            largest = float(layer.weight.detach().abs().max())
            # Of the fewest weights, 3 x 11, the largest is below 0.8 with probability 0.001.
            assert 0.8 * limit < largest <= limit, name
            zero.add(f"{name}.bias")
        elif isinstance(layer, nn.Embedding):
            # Of the fewest weights, 5 x 64, the deviation of the std is 4 %.
            assert float(layer.weight.detach().std()) == pytest.approx(0.02, rel=0.16), name
    parameters = dict(model.named_parameters())
    assert {name for name, value in parameters.items() if not value.any()} == zero


def test_the_start_keeps_its_own_initialisation() -> None:
    """From N(0, 1), which Xavier leaves alone."""
    torch.manual_seed(0)
    model = build_generator(GeneratorKind.CONTENT, make_shape(variant=RELEASED, canvas_rms=RMS))
    assert isinstance(model, ContentGenerator)
    # Of 48 numbers, four standard deviations.
    assert float(model.start.detach().std()) == pytest.approx(1, abs=4 / 96**0.5)


@pytest.mark.parametrize("part", list(GeneratorKind))
@pytest.mark.parametrize("kinds", list(TokenKinds))
def test_both_generators_have_the_rotary_kinds_of_their_variant(
    part: GeneratorKind, kinds: TokenKinds
) -> None:
    """Their class token is 0 on every axis, or 1."""
    model = build_generator(part, make_shape(variant=Variant(token_kinds=kinds)))
    embedding = torch.ones(1, 16, 4, dtype=torch.int64)
    backbone = model.get_submodule("backbone")
    assert isinstance(backbone, Backbone)
    ids = backbone.token_ids(embedding, STRUCTURE)
    assert set(ids[0, 0].tolist()) == {int(kinds is TokenKinds.RELEASE)}
