"""What a store decides about the generators trained on it."""

import json
from pathlib import Path

import pytest

from nvg.config import as_table, build
from nvg.generator.config import GeneratorShape, TransformerConfig
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


def test_a_shape_survives_json(store: Store) -> None:
    """Weights files carry the shape as JSON: read back, it is the same."""
    shape = shape_for(SMALL, store)
    assert build(GeneratorShape, json.loads(json.dumps(as_table(shape)))) == shape
