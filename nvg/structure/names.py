"""The names of structure builders, so that a recipe is checked without torch."""

import math

GREEDY_SPACE = "greedy+space"

NAMES = ["greedy", "greedy+2opt", GREEDY_SPACE, "optimal", "spatial", "segments"]
"""Built-in ones; `register_builder` adds its own."""


def builder_names() -> list[str]:
    """The names of the built-in and registered builders."""
    return list(NAMES)


def require_builder_name(name: str) -> None:
    """ValueError unless `name` is a known builder or has the form `module:function`.

    It does not import the module: reading a config from a foreign file must not run code.
    """
    if name not in NAMES and not all(name.partition(":")):
        raise ValueError(
            f"unknown structure builder {name!r}; known: {', '.join(NAMES)}, or module:function"
        )


def require_space_weight(space_weight: float) -> None:
    """ValueError unless the weight is finite and at least 0."""
    if not 0 <= space_weight < math.inf:
        raise ValueError(f"space_weight must be finite and at least 0, not {space_weight}")
