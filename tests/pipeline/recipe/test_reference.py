"""docs/RECIPE.md is what the dataclasses say."""

import dataclasses
from enum import StrEnum
from pathlib import Path

import pytest

from nvg.config import as_table
from pipeline.recipe.profiles import RELEASE
from pipeline.recipe.reference import PAGE, Key, keys_of, reference, sections
from pipeline.recipe.schema import Recipe
from tests.makers import tiny_recipe

ROOT = Path(__file__).resolve().parents[3]


class Colour(StrEnum):
    """What is painted."""

    RED = "red"
    """Like blood."""
    BLUE = "blue"


@dataclasses.dataclass(frozen=True)
class Base:
    """What both have."""

    steps: int
    """How many."""
    rate: float = 0.5
    """How
    fast. [A.5]"""


@dataclasses.dataclass(frozen=True)
class Own(Base):
    """Another default."""

    steps: int = 7
    """[Table 2]"""
    colour: Colour = Colour.RED
    sides: tuple[int, ...] | None = None
    """One | each."""


def test_the_page_is_the_code() -> None:
    """`./justw reference` writes it again."""
    assert (ROOT / PAGE).read_text(encoding="utf-8") == reference()


def test_every_key_is_on_the_page() -> None:
    """Counted in a whole recipe, which names each once; sources of defaults are the paper's."""

    def count(table: dict[str, object]) -> int:
        return sum(count(v) if isinstance(v, dict) else 1 for v in table.values())

    keys = [(name, key) for name, kind, _ in sections(Recipe, "", {}) for key in keys_of(kind)]
    assert len(keys) == len({(name, key.name) for name, key in keys})
    assert len(keys) >= count(as_table(tiny_recipe()))
    page = reference()
    assert [key for _, key in keys if f"| `{key.name}` | {key.kind} |" not in page] == []
    assert ("generator.train", "A.5") in [(name, key.source) for name, key in keys]


@pytest.mark.thorough
def test_values_of_the_release_are_on_the_page() -> None:
    """Each of the profile, at its key."""
    values = {name: given for name, _, given in sections(Recipe, "", RELEASE)}
    assert values["sample"]["split"] == "top-half"
    assert '`"gumbel"`<br>release: `"top-half"`' in reference()


def test_a_key_is_read_from_its_class() -> None:
    """Meaning and source each from the nearest class; an enum's from its members."""
    steps, rate, colour, sides = keys_of(Own, {"colour": Colour.BLUE})
    assert steps == Key("steps", "integer", "`7`", "Table 2", "How many.")
    assert rate == Key("rate", "float", "`0.5`", "A.5", "How fast.")
    meaning = 'What is painted. <br>`"red"`: Like blood.'
    shown = '`"red"`<br>release: `"blue"`'
    assert colour == Key("colour", '`"red"`, `"blue"`', shown, "ours", meaning)
    assert sides == Key("sides", "list of integer", "none", "ours", "One \\| each.")
    assert keys_of(Base)[0].default == "required"


def test_a_key_without_a_meaning_is_refused() -> None:
    """The page cannot be written without."""

    @dataclasses.dataclass
    class Silent:
        key: int = 0

    with pytest.raises(ValueError, match=r"Silent\.key has no docstring: write one below it"):
        keys_of(Silent)
