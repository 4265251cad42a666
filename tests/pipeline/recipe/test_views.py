"""Views with a count."""

from pathlib import Path

import pytest

from nvg.config import ConfigError, dump
from pipeline.recipe import View, load_recipe
from pipeline.recipe.views import expand
from tests.makers import tiny_recipe


def test_a_counted_view_is_repeated(tmp_path: Path) -> None:
    """In its place, also by --set; the others stay."""
    dump(tiny_recipe(tmp_path), tmp_path / "a.toml")
    recipe = load_recipe(tmp_path / "a.toml", ['tokenize.views=["center", "random-crop * 3"]'])
    assert recipe.tokenize.views == (View.CENTER, *[View.RANDOM] * 3)


@pytest.mark.parametrize("table", [{}, {"tokenize": {}}, {"tokenize": {"views": ["center", 3]}}])
def test_other_tables_stay(table: dict[str, object]) -> None:
    """What is wrong in them is told later."""
    assert expand(table) == table


@pytest.mark.parametrize("view", ["random-crop*0", "flip*99999"])
def test_an_odd_count_is_refused(view: str) -> None:
    """None, or as many as a slip of the keyboard makes."""
    with pytest.raises(ConfigError, match=r"tokenize\.views: the count of .* must be 1\.\."):
        expand({"tokenize": {"views": [view]}})
