"""Samples of random small generators, token by token: on a CPU they stay what they were."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from nvg.choices import ContentInput
from nvg.generator.config import Variant
from nvg.sampling.config import Solver
from tests.nvg.sampling.makers import PAPER, RELEASE_PARTS, make_sampler, sampled

LABELS, SEED = [0, 2, -1], 11
CASES: dict[str, dict[str, Any]] = {
    "paper": {},
    "grid 8": {"grid": 8},
    "release": RELEASE_PARTS,
    "top-k, midpoint": {"config": replace(PAPER, top_k=5, top_p=0.9, solver=Solver.MIDPOINT)},
    "noised": {"variant": Variant(content_input=ContentInput.NOISED)},
}


def expected(case: str) -> dict[str, list[list[int]]]:
    """Leaves and tokens that were sampled then."""
    path = Path(__file__).resolve().parents[2] / "golden" / "samples.json"
    found: dict[str, dict[str, list[list[int]]]] = json.loads(path.read_text())
    return found[case]


@pytest.mark.parametrize("case", list(CASES))
@pytest.mark.parametrize("is_autocast", [False, True], ids=["plain", "autocast"])
def test_samples_on_a_cpu_stay_the_same(case: str, is_autocast: bool) -> None:
    """Every leaf and token of three images in batches of two, whatever the autocast around."""
    with torch.autocast("cpu", torch.bfloat16, enabled=is_autocast):
        made = sampled(make_sampler(**CASES[case]), LABELS, SEED, batch=2)
    wanted = expected(case)
    assert made.leaves.tolist() == wanted["leaves"]
    assert made.content.tolist() == wanted["content"]
