"""The choices: each documented, its default first."""

import ast
import dataclasses
import enum
import inspect

import pytest

from nvg import choices
from nvg.generator.config import Variant
from pipeline.recipe import Recipe
from tests.makers import tiny_recipe

KINDS = [
    kind
    for _, kind in inspect.getmembers(choices, inspect.isclass)
    if issubclass(kind, enum.Enum) and kind.__module__ == choices.__name__
]


def enum_fields(config: object) -> dict[type, list[object]]:
    """Every value of an enum in a config and its sections, by the enum."""
    found: dict[type, list[object]] = {}
    for field in dataclasses.fields(config):  # type: ignore[arg-type]  # a dataclass instance
        value = getattr(config, field.name)
        inner = enum_fields(value) if dataclasses.is_dataclass(value) else {type(value): [value]}
        for kind, values in inner.items():
            found.setdefault(kind, []).extend(values)
    return found


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_a_recipe_has_every_choice_and_its_first_member_by_default(kind: type[enum.Enum]) -> None:
    """So a config made before a choice existed keeps its meaning."""
    first = next(iter(kind))
    assert set(enum_fields(tiny_recipe())[kind]) == {first}


def test_every_choice_says_what_it_is() -> None:
    """A docstring each."""
    tree = ast.parse(inspect.getsource(choices))
    classes = [node for node in tree.body if isinstance(node, ast.ClassDef)]
    assert len(classes) == len(KINDS)
    assert all(ast.get_docstring(node) for node in classes)


def test_the_variant_of_a_recipe_is_the_classic_one() -> None:
    """All defaults."""
    recipe: Recipe = tiny_recipe()
    assert recipe.generator.variant == Variant()
