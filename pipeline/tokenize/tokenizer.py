"""The tokenizer of a pass: what it is decides how images are cut, whatever a recipe leaves out."""

from dataclasses import replace
from pathlib import Path

from nvg.tokenizer.autoencoder import autoencoder_config, require_trusted
from nvg.tokenizer.config import Pyramid
from pipeline.recipe import AutoencoderSection, Recipe
from pipeline.sources import SourceError


def with_tokenizer(recipe: Recipe, path: Path, trust: bool = False) -> Recipe:
    """The recipe with the [autoencoder.model] of an existing tokenizer.

    SourceError where the recipe has another, or the tokenizer makes no structure; CheckpointError
    where it names code as its builder and neither the recipe nor `trust` does.
    """
    config = autoencoder_config(path)
    given = recipe.autoencoder.model if recipe.autoencoder else None
    if given is not None and given != config:
        raise SourceError(
            f"{path} was trained with another [autoencoder.model] than the recipe's: use its own "
            "recipe, or leave that section out"
        )
    if not trust:
        require_trusted(config, path, given.builder if given else None)
    if config.pyramid is not Pyramid.GRANULARITY:
        raise SourceError(
            f"{path} is a scale pyramid, for comparison only: its tokens have no structure that a "
            "store could hold"
        )
    section = recipe.autoencoder or AutoencoderSection()
    return replace(recipe, autoencoder=replace(section, model=config))
