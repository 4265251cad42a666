"""The tokenizer of a pass decides its model."""

import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from nvg.tokenizer.autoencoder import load_autoencoder
from nvg.weights import CheckpointError, fingerprint
from pipeline.evaluation.reconstruction_tasks import (
    RebuildJob,
    ReconstructionOptions,
    open_rebuilder,
)
from pipeline.recipe import Recipe, TokenizeConfig
from pipeline.sampling.references import load_reference
from pipeline.sources import SourceError
from pipeline.tokenize.tokenizer import with_tokenizer
from tests.makers import files_below, recipe_over, tiny_recipe, write_image_folder
from tests.nvg.tokenizer.makers import tiny_model, write_autoencoder
from tests.pipeline.tokenize.makers import run


@pytest.mark.thorough
def test_a_recipe_without_a_model_takes_that_of_the_tokenizer(
    tokenizer: Path, tmp_path: Path
) -> None:
    """The store is the same byte for byte as with the model repeated; another one is refused."""
    whole = recipe_over(tmp_path)
    short = Recipe(data=whole.data, tokenize=TokenizeConfig(chunk_rows=4, batch_size=3))
    assert with_tokenizer(short, tokenizer).autoencoder.model == load_autoencoder(tokenizer).config
    run(whole, tokenizer, tmp_path / "whole.vgs")
    run(short, tokenizer, tmp_path / "short.vgs")
    assert files_below(tmp_path / "short.vgs") == files_below(tmp_path / "whole.vgs")
    other = replace(whole.autoencoder, model=tiny_model(8))
    with pytest.raises(SourceError, match=r"another \[autoencoder\.model\]"):
        with_tokenizer(replace(whole, autoencoder=other), tokenizer)


CHOSEN = "chosen_elsewhere"  # a module, which notes that it runs
CODE = """
import sys, torch
sys.was_chosen = True
def build(latents):
    return torch.arange(latents.shape[1]).expand(latents.shape[:2])
"""


@pytest.fixture
def foreign(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A tokenizer from elsewhere, whose file names code as its builder."""
    (tmp_path / f"{CHOSEN}.py").write_text(CODE)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, CHOSEN, raising=False)
    monkeypatch.setattr(sys, "was_chosen", False, raising=False)
    write_image_folder(tmp_path / "images")
    write_autoencoder(tmp_path / "run", config=replace(tiny_model(), builder=f"{CHOSEN}:build"))
    return tmp_path


def test_code_that_a_file_names_does_not_run(foreign: Path) -> None:
    """Neither tokenizing, nor measuring, nor a reference image, nor the library imports it."""
    recipe = Recipe(data=tiny_recipe(foreign / "images").data)
    options = ReconstructionOptions(extractor="inception-v3-compat", most=2)
    job = RebuildJob(foreign / "run", recipe, options)
    picture = foreign / "images/ant/000.png"
    model = load_autoencoder(foreign / "run")
    identity = fingerprint(model)
    for refused in (
        lambda: run(recipe, foreign / "run", foreign / "a.vgs"),
        lambda: open_rebuilder(job),
        lambda: load_reference(str(picture), identity, foreign / "run"),
        lambda: model.tokenize(torch.zeros(1, 3, 8, 8, dtype=torch.uint8)),
    ):
        with pytest.raises(CheckpointError, match=r"names code to run.*chosen_elsewhere.*--trust"):
            refused()
    assert CHOSEN not in sys.modules
    assert not getattr(sys, "was_chosen")  # noqa: B009


def test_it_runs_on_the_users_word(foreign: Path) -> None:
    """Their own recipe, or trust, names it."""
    recipe = tiny_recipe(foreign / "images")
    bare = Recipe(data=recipe.data)
    assert with_tokenizer(bare, foreign / "run", trust=True).autoencoder.model.names_code
    model = load_autoencoder(foreign / "run").config
    own = replace(recipe, autoencoder=replace(recipe.autoencoder, model=model))
    assert CHOSEN not in sys.modules
    run(own, foreign / "run", foreign / "a.vgs")
    assert getattr(sys, "was_chosen")  # noqa: B009
    picture = str(foreign / "images/ant/000.png")
    identity = fingerprint(load_autoencoder(foreign / "run"))
    assert load_reference(picture, identity, foreign / "run", trust=True).leaves.shape == (1, 16)
    options = ReconstructionOptions(extractor="inception-v3-compat", most=2, trust=True)
    job = RebuildJob(foreign / "run", bare, options)
    assert open_rebuilder(job).picture(0)
