"""Names of builders, and what is refused before anything is imported."""

import math

import pytest

from nvg.structure.names import NAMES, builder_names, require_builder_name, require_space_weight


def test_the_names() -> None:
    """Those in the documentation; a reader cannot change the list."""
    known = ["greedy", "greedy+2opt", "greedy+space", "optimal", "spatial", "segments"]
    assert builder_names() == known
    builder_names().append("mine")
    assert known == NAMES


@pytest.mark.parametrize("name", ["magic", "", ":", "module:", ":function", "Greedy"])
def test_a_name_that_is_none_is_refused(name: str) -> None:
    """With the names that are known."""
    with pytest.raises(ValueError, match=r"unknown structure builder .*greedy, .*module:function"):
        require_builder_name(name)


def test_a_function_is_not_imported() -> None:
    """Any module is believed to be there."""
    require_builder_name("no_such_module:builder")
    require_builder_name("optimal")


@pytest.mark.parametrize("weight", [-1.0, math.inf, math.nan])
def test_a_weight_must_be_finite(weight: float) -> None:
    """And not negative."""
    with pytest.raises(ValueError, match="space_weight must be finite and at least 0"):
        require_space_weight(weight)
    require_space_weight(0.0)
