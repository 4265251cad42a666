"""Training of the generators on a store: canvases, drawn stages, dropped labels, resuming."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from nvg.distributed import World
from nvg.format.base import TOKENIZER_FILE
from nvg.generator.config import GeneratorKind
from nvg.quantizer.granularity import load_quantizer
from nvg.store import Store
from nvg.training.run_dir import RunError
from tests.nvg.store.makers import make_store
from tests.nvg.training.generator.makers import fit
from tests.nvg.training.makers import differing, lines_of

ALONE = World(0, 1, torch.device("cpu"))
BOTH = [GeneratorKind.CONTENT, GeneratorKind.STRUCTURE]


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """Twelve random rows on a 4x4 grid."""
    return make_store(tmp_path / "store.vgs", rows=12)


def test_the_quantizer_is_the_stores_own_and_frozen(store: Store) -> None:
    """Codebook and refiners are the weights the store carries, and nothing trains them."""
    quantizer = load_quantizer(store.read(TOKENIZER_FILE), store.geometry)
    saved = load_file(Path(store.path) / "tokenizer.safetensors")
    assert differing(quantizer.state_dict(), saved) == []
    assert not any(parameter.requires_grad for parameter in quantizer.parameters())


@pytest.mark.thorough
@pytest.mark.parametrize(
    ("warmup", "start", "rate"), [(1, 0.0, 0.01), (10, 0.0, 0.001), (10, 0.5, 0.005)]
)
def test_the_schedule_sets_the_rate(
    store: Store, tmp_path: Path, warmup: int, start: float, rate: float
) -> None:
    """Adam's first step moves the weights by the rate itself: 0.64 x 4 / 256, warmed up."""
    schedule: dict[str, Any] = {"steps": 1, "warmup": warmup, "warmup_start": start}
    for name, lr in (("moved", 0.64), ("still", 0.0)):
        fit(store, tmp_path / name, BOTH, lr=lr, weight_decay=0.0, **schedule)
    for part in BOTH:
        weights = [load_file(tmp_path / n / f"{part}.safetensors") for n in ("moved", "still")]
        change = max(
            float((weights[0][name] - weights[1][name]).abs().max()) for name in weights[0]
        )
        assert change == pytest.approx(rate, rel=0.02)


@pytest.mark.thorough
def test_it_learns_the_store(store: Store, tmp_path: Path) -> None:
    """Canvas error, token entropy and flow loss all fall on a dozen images."""
    fit(store, tmp_path / "run", BOTH, steps=150, batch_size=12, lr=0.1, warmup=5)
    lines = lines_of(tmp_path / "run" / "metrics.jsonl")
    for name in ("canvas", "entropy", "flow"):
        first, last = (sum(line[name] for line in part) for part in (lines[:10], lines[-10:]))
        assert last < 0.9 * first, name


@pytest.mark.thorough
@pytest.mark.parametrize("parts", [BOTH, [GeneratorKind.CONTENT], [GeneratorKind.STRUCTURE]])
def test_a_resumed_run_equals_an_uninterrupted_one(
    store: Store, tmp_path: Path, parts: list[GeneratorKind]
) -> None:
    """Continued from a checkpoint inside an epoch, weights and log end equal to the bit."""
    fit(store, tmp_path / "whole", parts, steps=7)
    shutil.copytree(tmp_path / "whole", tmp_path / "cut")
    shutil.rmtree(tmp_path / "cut" / "checkpoints" / "step-00000007")
    fit(store, tmp_path / "cut", parts, resume=True, steps=7)
    for part in parts:
        weights = [load_file(tmp_path / run / f"{part}.safetensors") for run in ("cut", "whole")]
        assert differing(*weights) == []
    logs = [lines_of(tmp_path / run / "metrics.jsonl") for run in ("cut", "whole")]
    assert logs[0] == logs[1]


def test_a_run_is_not_resumed_on_another_store(store: Store, tmp_path: Path) -> None:
    """Other rows behind the same path are noticed, and both places are named."""
    fit(store, tmp_path / "run", BOTH)
    other = make_store(tmp_path / "other.vgs", rows=11)
    with pytest.raises(RunError, match=r"run .* another store .*other\.vgs"):
        fit(other, tmp_path / "run", BOTH, resume=True)


def test_parts_trained_one_by_one_share_a_directory(store: Store, tmp_path: Path) -> None:
    """Each leaves its own weights, log and checkpoints, and the class names are the store's."""
    for part in BOTH:
        fit(store, tmp_path / "run", [part], name=part.value)
    for part in BOTH:
        assert (tmp_path / "run" / f"{part}.safetensors").exists()
        assert lines_of(tmp_path / "run" / f"metrics-{part}.jsonl")[-1]["step"] == 4
        assert (tmp_path / "run" / "checkpoints" / part / "step-00000004").is_dir()
    names = json.loads((tmp_path / "run" / "classes.json").read_text())
    assert names == list(store.manifest.classes)
