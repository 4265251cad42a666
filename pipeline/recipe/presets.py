"""Sizes by name: `generator.preset` of a recipe fills in what the recipe leaves out."""

from collections.abc import Mapping
from typing import Any

from nvg.config import ConfigError

Table = dict[str, Any]


def _paper(depth: int, steps: int, decay_start: float = 0.8, sharded: bool = False) -> Table:
    """NVG-d of the paper (A.4, A.5): content 64 d wide with d heads, structure half of both."""
    dropout = round(0.1 * depth / 24, 4)
    return {
        "content": {"depth": depth, "width": 64 * depth, "heads": depth, "dropout": dropout},
        "structure": {
            "depth": depth,
            "width": 32 * depth,
            "heads": depth // 2,
            "dropout": dropout,
        },
        "train": {
            "steps": steps,
            "batch_size": 768,
            "decay_start": decay_start,
            "sharded": sharded,
        },
    }


PRESETS: dict[str, Table] = {
    "d12": _paper(12, 67_000),  # the ablation's 40 epochs
    "d16": _paper(16, 333_000),
    "d20": _paper(20, 444_000),
    "d24": _paper(24, 519_000, decay_start=round(200 / 350, 4), sharded=True),
    "small8": {  # for 8x8 grids
        "content": {"depth": 8, "width": 512, "heads": 8, "dropout": 0.1},
        "structure": {"depth": 8, "width": 256, "heads": 4, "dropout": 0.1},
        "train": {"steps": 60_000, "batch_size": 512},
    },
    "small4": {  # for 4x4 grids
        "content": {"depth": 4, "width": 128, "heads": 2},
        "structure": {"depth": 4, "width": 96, "heads": 3},
        "train": {"steps": 2_000, "batch_size": 64, "lr": 4e-3, "warmup": 100},
    },
}


def expand(table: Table) -> Table:
    """A recipe's table with its preset's values where it has none of its own. ConfigError.

    The paper calls it dropout; the release drops paths, at the same rate.
    """
    generator = table.get("generator")
    if not isinstance(generator, Mapping) or "preset" not in generator:
        return table
    given = dict(generator)
    name = given.pop("preset")
    if not isinstance(name, str) or name not in PRESETS:
        raise ConfigError(f"generator.preset must be one of {', '.join(PRESETS)}, not {name!r}")
    for section, preset in PRESETS[name].items():
        own, values = given.get(section, {}), preset
        if table.get("profile") == "release" and "dropout" in values:
            values = {**preset, "drop_path": preset["dropout"], "dropout": 0.0}
        given[section] = {**values, **own} if isinstance(own, Mapping) else own
    return {**table, "generator": given}
