"""What a store decides about the generators trained on it."""

import json
from pathlib import Path
from typing import Any

import pytest

from nvg.choices import CanvasScale
from nvg.config import as_table, build
from nvg.format.base import TOKENIZER_FILE
from nvg.generator.config import GeneratorShape, TransformerConfig, Variant
from nvg.quantizer.granularity import load_quantizer
from nvg.store import Store
from tests.nvg.generator.makers import RELEASED, RMS, SMALL, make_shape
from tests.nvg.store.makers import make_store
from tests.nvg.training.generator.makers import shape_for


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
    for shape in (shape_for(SMALL, store), make_shape(variant=RELEASED, canvas_rms=RMS)):
        assert build(GeneratorShape, json.loads(json.dumps(as_table(shape)))) == shape


def test_canvas_scales_must_fit_the_stages() -> None:
    """Six numbers for the five stages of a 4x4 grid where the scale is per stage, else none."""
    per_stage = Variant(canvas_scale=CanvasScale.STAGE)
    assert make_shape(variant=per_stage, canvas_rms=RMS).canvas_rms == RMS
    for parts in ({"variant": per_stage}, {"variant": per_stage, "canvas_rms": RMS[1:]}):
        with pytest.raises(ValueError, match=r"canvas_rms has [05] numbers: .* needs 6"):
            make_shape(**parts)
    with pytest.raises(ValueError, match=r"canvas_rms has 6 numbers: .* needs none"):
        make_shape(canvas_rms=RMS)


@pytest.mark.parametrize("count", [0, 63])
def test_time_frequencies_are_pairs(count: int) -> None:
    """A cosine for every sine."""
    with pytest.raises(ValueError, match="time_frequencies"):
        Variant(time_frequencies=count)


@pytest.mark.parametrize("sizes", [{"depth": 10**7}, {"width": 1 << 62}, {"heads": 10**30}])
def test_sizes_that_no_machine_has_are_refused(sizes: dict[str, Any]) -> None:
    """Before a layer is made, which would take forever or overflow."""
    with pytest.raises(ValueError, match=f"{next(iter(sizes))} must be at most"):
        TransformerConfig(**{"depth": 1, "width": 64, "heads": 1, **sizes})
