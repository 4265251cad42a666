"""What a store decides about the generators trained on it."""

import json
from pathlib import Path

import pytest
import torch

from nvg.config import as_table, build
from nvg.generator.backbone import TransformerConfig
from nvg.generator.config import GeneratorKind, GeneratorShape
from nvg.generator.content import ContentGenerator
from nvg.generator.structure_flow import StructureGenerator
from nvg.quantizer.granularity import load_quantizer
from nvg.store import Store
from nvg.store.format import TOKENIZER_FILE
from tests.nvg.store.makers import make_store
from tests.nvg.training.generator.makers import shape_for

SMALL = TransformerConfig(depth=1, width=64, heads=2)


def test_the_shape_comes_from_the_store(tmp_path: Path) -> None:
    """Grid, classes, codes and width are the manifest's, the scale the codebook's own size."""
    store = make_store(tmp_path / "a.vgs")
    shape = shape_for(SMALL, store)
    manifest = store.manifest
    assert (shape.grid, shape.classes) == (manifest.grid, len(manifest.classes))
    assert (shape.codebook_size, shape.latent_dim) == (manifest.codebook_size, manifest.latent_dim)
    codebook = load_quantizer(store.read(TOKENIZER_FILE), store.geometry).codebook.double()
    assert shape.latent_scale == pytest.approx(float((codebook**2).mean() ** 0.5), rel=1e-5)


def test_the_stores_quantizer_is_frozen(store: Store) -> None:
    """Training the generators never moves the tokenizer."""
    quantizer = load_quantizer(store.read(TOKENIZER_FILE), store.geometry)
    assert not any(parameter.requires_grad for parameter in quantizer.parameters())
    assert not quantizer.training


@pytest.mark.parametrize(
    ("part", "kind"),
    [(GeneratorKind.CONTENT, ContentGenerator), (GeneratorKind.STRUCTURE, StructureGenerator)],
)
def test_a_shape_builds_either_generator(part: GeneratorKind, kind: type, store: Store) -> None:
    """The same shape gives both networks, with the null class after the classes."""
    shape = shape_for(SMALL, store)
    model = shape.build(part)
    assert isinstance(model, kind)
    assert model.backbone.null_class == shape.classes


def test_a_shape_survives_json(store: Store) -> None:
    """Weights files carry the shape as JSON: read back, it is the same."""
    shape = shape_for(SMALL, store)
    assert build(GeneratorShape, json.loads(json.dumps(as_table(shape)))) == shape


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
            model = shape.build(part)
        assert sum(p.numel() for p in model.parameters()) / 1e6 == pytest.approx(millions, rel=0.01)
