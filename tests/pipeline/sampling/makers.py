"""A run whose samples differ, and requests for it."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from nvg.sampling.config import SamplerConfig
from pipeline.sampling.request import Request, read_request
from pipeline.train import fit_generator
from tests.makers import tiny_recipe
from tests.nvg.store.makers import make_store

FAST = SamplerConfig(flow_steps=2)


def write_far_run(root: Path) -> Path:
    """A run whose weights have moved far, tokens.vgs beside it."""
    generator = tiny_recipe().generator
    far = replace(generator, train=replace(generator.train, lr=1.5, steps=8))
    store = make_store(root / "tokens.vgs", rows=10)
    fit_generator(tiny_recipe(generator=far), store.path, root / "run", None, False)
    return root / "run"


def tokens_reference(identity: str, seed: int = 0) -> dict[str, Any]:
    """A reference of random tokens on a grid of 4x4, as JSON has it."""
    rng = np.random.default_rng(seed)
    leaves = [0, 1, 4, 5, 2, 3, 6, 7, 8, 12, 9, 13, 10, 14, 11, 15]
    content = rng.integers(0, 16, 31).tolist()
    return {"leaves": leaves, "content": content, "tokenizer": identity, "name": "made"}


HALF = [0, 0, 1, 1] * 4  # of the grid of 4x4
KEPT = ["all", "structure", "all", "anew", "anew"]


def a_request(run: Path | str = "run", **parts: Any) -> Request:
    """Three images of each of two classes, with two flow steps."""
    usual = {"classes": [2, 0], "number": 3, "settings": {"flow_steps": 2}}
    return read_request({"run": str(run), **usual, **parts})
