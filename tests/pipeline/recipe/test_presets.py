"""Presets: the paper's sizes by name, and what a recipe says itself comes first."""

from pathlib import Path

import pytest
import torch

from nvg.config import ConfigError, dump
from nvg.generator.build import build_generator
from nvg.generator.config import GeneratorKind, GeneratorShape
from pipeline.recipe import load_recipe
from pipeline.recipe.presets import PRESETS, expand

MILLIONS = {16: (255, 64), 20: (497, 125), 24: (856, 215)}  # content, structure (Table 4)

HEAD = '[data]\nsource = "digits"\n[autoencoder.model]\n[generator]\npreset = "{}"\n'


def written(folder: Path, text: str) -> Path:
    (folder / "recipe.toml").write_text(text)
    return folder / "recipe.toml"


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_is_a_whole_generator(tmp_path: Path, name: str) -> None:
    """The recipe needs nothing else; resolved and dumped it is the same without the name."""
    recipe = load_recipe(written(tmp_path, HEAD.format(name)))
    assert recipe.generator.content.depth == recipe.generator.structure.depth
    dump(recipe, tmp_path / "resolved.toml")
    assert "preset" not in (tmp_path / "resolved.toml").read_text()
    assert load_recipe(tmp_path / "resolved.toml") == recipe


@pytest.mark.parametrize("depth", [16, 20, 24])
def test_the_papers_presets_have_its_parameters(tmp_path: Path, depth: int) -> None:
    """Within a hundredth of Table 4, its dropout and its batch."""
    recipe = load_recipe(written(tmp_path, HEAD.format(f"d{depth}")))
    generator = recipe.generator
    assert generator.train.batch_size == 768
    assert generator.content.dropout == pytest.approx(0.1 * depth / 24, abs=1e-4)
    for part, millions in zip(GeneratorKind, MILLIONS[depth], strict=True):
        shape = GeneratorShape(
            transformer=getattr(generator, part.value),
            grid=16,
            classes=1000,
            codebook_size=4096,
            latent_dim=32,
            latent_scale=1.0,
        )
        with torch.device("meta"):
            count = sum(p.numel() for p in build_generator(part, shape).parameters())
        assert count == pytest.approx(millions * 1e6, rel=0.01)


def test_what_is_given_comes_first(tmp_path: Path) -> None:
    """A value in the file or on the command line beats the preset's, key by key."""
    text = HEAD.format("d16") + "[generator.train]\nsteps = 7\n"
    settings = ["generator.content.depth=2", "generator.preset=d12"]
    generator = load_recipe(written(tmp_path, text), settings).generator
    assert (generator.train.steps, generator.train.batch_size) == (7, 768)
    assert (generator.content.depth, generator.content.width) == (2, 768)
    assert generator.structure.depth == 12


def test_an_unknown_preset_is_named(tmp_path: Path) -> None:
    """With the ones there are."""
    with pytest.raises(ConfigError, match=r"generator\.preset must be one of d12, .*not 'd13'"):
        load_recipe(written(tmp_path, HEAD.format("d13")))
    assert expand({"data": {}}) == {"data": {}}
