"""The tokenizer of a pass decides its model."""

from dataclasses import replace
from pathlib import Path

import pytest

from nvg.tokenizer.autoencoder import load_autoencoder
from pipeline.recipe import Recipe, TokenizeConfig
from pipeline.sources import SourceError
from pipeline.tokenize.tokenizer import with_tokenizer
from tests.makers import files_below, recipe_over
from tests.nvg.tokenizer.makers import tiny_model
from tests.pipeline.tokenize.makers import run


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
