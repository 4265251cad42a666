"""No number of a recipe may be NaN or infinite, and none of today's may be negative.

The keys are found by looking at the dataclasses, so that a new one is held to this too.
"""

import dataclasses
import typing
from collections.abc import Iterator
from typing import Any

import pytest

from nvg.choices import CanvasScale
from nvg.config import ConfigError, as_table, build
from nvg.generator.config import GeneratorShape, TransformerConfig, Variant
from pipeline.recipe import Recipe
from tests.makers import tiny_recipe

NEEDS = {  # keys that other values must stand beside
    "autoencoder.model.space_weight": {"builder": "greedy+space"},
    "tokenize.features.dims": {"weights": "vit.pth"},
}


def number_keys(kind: Any, where: str = "") -> Iterator[tuple[str, type, bool]]:
    """Every key below a dataclass that is a number or a list of some: its type, whether a list."""
    for name, hint in typing.get_type_hints(kind).items():
        parts = [hint, *typing.get_args(hint)]
        for part in parts:
            if dataclasses.is_dataclass(part):
                yield from number_keys(part, f"{where}{name}.")
            elif part in (float, int) and typing.get_origin(hint) is not dict:
                yield (
                    f"{where}{name}",
                    part,
                    any(typing.get_origin(each) is tuple for each in parts),
                )
        if any(typing.get_origin(each) is tuple for each in parts[1:]):  # tuple[...] | None
            yield f"{where}{name}", float, True


KEYS = sorted(set(number_keys(Recipe)))


def refused(key: str, value: object, is_list: bool) -> str:
    """What is said of a recipe in which a key has a value."""
    table = as_table(tiny_recipe())
    *sections, name = key.split(".")
    inner = table
    for section in sections:
        inner = inner.setdefault(section, {})
    inner.update(NEEDS.get(key, {}))
    inner[name] = [value, value] if is_list else value
    with pytest.raises(ConfigError) as caught:
        build(Recipe, table)
    return str(caught.value)


def test_the_keys_are_found() -> None:
    """In every section, of every form."""
    sections = {field.name for field in dataclasses.fields(Recipe)}
    assert {key.partition(".")[0] for key, *_ in KEYS} == sections
    assert ("sample.temperature", float, False) in KEYS
    assert ("autoencoder.train.discriminator.betas", float, True) in KEYS
    assert ("autoencoder.model.space_weight", float, False) in KEYS
    assert ("generator.train.betas", float, True) in KEYS
    assert len(KEYS) > 80


@pytest.mark.parametrize(("key", "kind", "is_list"), KEYS)
def test_a_number_that_cannot_be_meant_is_one_line(key: str, kind: type, is_list: bool) -> None:
    """It names the key; -1 too is for no key a way to say none."""
    wrong: list[object] = [kind(-1)]
    if kind is float:
        wrong += [float("inf"), -float("inf"), float("nan")]
    for value in wrong:
        said = refused(key, value, is_list)
        assert key.rpartition(".")[2] in said
        assert "\n" not in said


def changed(config: Any, name: str, value: float) -> Any:
    """A config with another value of a field."""
    return dataclasses.replace(config, **{name: value})


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -1.0])
def test_a_config_made_in_python_is_held_to_the_same(value: float) -> None:
    """Without the reader of recipes, wherever a key is checked against a bound."""
    recipe = tiny_recipe()
    for config in (recipe.sample, recipe.generator.train, recipe.autoencoder.train):
        for field in dataclasses.fields(config):
            if field.type in (float, "float"):
                with pytest.raises(ValueError, match=field.name):
                    changed(config, field.name, value)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -1.0, 0.0])
def test_scales_of_a_generator_are_positive(value: float) -> None:
    """What canvases are divided by."""
    shape = GeneratorShape(
        transformer=TransformerConfig(depth=1, width=64, heads=1),
        grid=2,
        classes=0,
        codebook_size=16,
        latent_dim=4,
        latent_scale=1.0,
        canvas_rms=(1.0,) * 4,
        variant=Variant(canvas_scale=CanvasScale.STAGE),
    )
    for changes in ({"latent_scale": value}, {"canvas_rms": (1.0, 1.0, 1.0, value)}):
        with pytest.raises(ValueError, match="must be positive"):
            dataclasses.replace(shape, **changes)  # type: ignore[arg-type]
