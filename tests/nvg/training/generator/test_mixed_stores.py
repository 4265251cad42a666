"""Training on several stores in given shares: joined classes, and exact resume."""

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from nvg.compose.mixture import Mixture, open_mixture
from nvg.errors import InputError
from nvg.generator.config import GeneratorKind, GeneratorShape
from nvg.weights import read_config
from pipeline.train import fit_generator
from pipeline.train_plan import plan_generator
from tests.makers import tiny_recipe
from tests.nvg.compose.makers import two_stores
from tests.nvg.training.generator.makers import fit

CONTENT = [GeneratorKind.CONTENT]


@pytest.fixture
def mixture(tmp_path: Path) -> Mixture:
    """Two stores with other classes."""
    stores = two_stores(str(tmp_path), 14, 12)
    return Mixture(tuple(store.path for store in stores), (0.7, 0.3))


@pytest.mark.thorough
def test_a_resumed_mixture_equals_an_uninterrupted_one(mixture: Mixture, tmp_path: Path) -> None:
    """To the byte, from a stop within the epochs of both; other shares are refused."""
    fit(open_mixture(mixture), tmp_path / "whole", CONTENT, steps=3)
    shutil.copytree(tmp_path / "whole", tmp_path / "cut")
    shutil.rmtree(tmp_path / "cut" / "checkpoints" / "step-00000003")
    other = open_mixture(replace(mixture, weights=(0.5, 0.5)))
    with pytest.raises(InputError, match="another seed or other --weights"):
        fit(other, tmp_path / "cut", CONTENT, resume=True, steps=3)
    fit(open_mixture(mixture), tmp_path / "cut", CONTENT, resume=True, steps=3)
    whole, cut = (tmp_path / run / "content.safetensors" for run in ("whole", "cut"))
    assert whole.read_bytes() == cut.read_bytes()
    assert read_config(GeneratorShape, cut).classes == 5


@pytest.mark.thorough
def test_the_verb_takes_a_mixture(mixture: Mixture, tmp_path: Path) -> None:
    """The plan counts the rows of both stores; the lines name both."""
    recipe = tiny_recipe()
    lines = plan_generator(recipe, mixture, None)
    assert lines[0] == f"24 images to train on in {mixture}, 2 held out"
    lines = fit_generator(recipe, mixture, tmp_path / "run", "content", False)
    assert lines[0].endswith(f"content.safetensors: trained on {mixture}")
