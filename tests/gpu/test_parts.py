"""Every part at its tiny sizes on the CPU, and faults planted in what it compares."""

import subprocess
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from nvg.backend import Backend
from nvg.training.generator.state import GeneratorState
from tests.gpu import leaves, networks, processes, quantizer, waits
from tests.gpu.report import Outcome, Setting, read
from tests.gpu.runner import PARTS, ROOT, run_here

# What a machine that only trains has none of.
ABSENT = "ray faiss torch_fidelity torchmetrics sklearn scipy lpips matplotlib psutil s3fs"
NOT_NEEDED = (*ABSENT.split(), "pytest", "hypothesis", "datasets", "webdataset")
# torch.compile looks at the gradient of every tensor that it meets.
pytestmark = pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf")
QUICK = ("quantizer", "training", "waits", "tests")
CPU = torch.device("cpu")


@pytest.fixture
def setting(tmp_path: Path) -> Setting:
    return Setting(CPU, True, tmp_path)


def failures(part: str, setting: Setting) -> list[str]:
    """The false checks of a part that failed."""
    assert run_here(PARTS[part], setting) is Outcome.FAILED
    table = read(part, setting.out)
    assert table
    return [e["name"] for e in table["entries"] if e["kind"] == "check" and not e["ok"]]


@pytest.mark.parametrize(
    "part", ["device", *(pytest.param(part, marks=pytest.mark.thorough) for part in QUICK)]
)
def test_a_part_runs_on_a_cpu(part: str, setting: Setting) -> None:
    """All its checks hold there; those of the dearer parts below."""
    outcome = run_here(PARTS[part], setting)
    table = read(part, setting.out)
    assert table
    bad = [e for e in table["entries"] if e["kind"] == "check" and not e["ok"]]
    assert (outcome, bad) == (Outcome.SKIPPED if part == "tests" else Outcome.OK, []), table
    assert part == "tests" or table["entries"]


def test_a_wrong_leaf_is_found(setting: Setting, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two leaves of one image in a batch of any size, of the device's backend only."""
    right = leaves.build_leaves
    monkeypatch.setattr(leaves, "TINY_POSITIONS", (16,))

    def build(latents: Tensor, *args: Any, **options: Any) -> Tensor:
        found = right(latents, *args, **options)
        if options["backend"] is Backend.TORCH and "builder" not in options and len(found) == 5:
            found[3, :2] = found[3, :2].flip(0)
        return found

    monkeypatch.setattr(leaves, "build_leaves", build)
    assert "N = 16, greedy in uint8" in failures("leaves", setting)


def test_a_wrong_code_is_found(setting: Setting, monkeypatch: pytest.MonkeyPatch) -> None:
    """One vector of two hundred, under one of torch's switches."""
    right = quantizer.nearest_code

    def nearest(vectors: Tensor, codebook: Tensor, backend: Backend) -> Tensor:
        found = right(vectors, codebook, backend)
        if backend is Backend.TORCH and torch.get_float32_matmul_precision() == "high":
            found[7] = (found[7] + 1) % len(codebook)
        return found

    monkeypatch.setattr(quantizer, "nearest_code", nearest)
    assert failures("quantizer", setting) == ['codes, precision "high"']
    assert torch.get_float32_matmul_precision() == "highest"


@pytest.mark.slow
def test_a_wrong_weight_is_found(setting: Setting, monkeypatch: pytest.MonkeyPatch) -> None:
    """One layer of the device's networks is a hundredth off."""
    right: Callable[[nn.Module], nn.Module] = networks.deepcopy

    def copy(model: nn.Module) -> nn.Module:
        found = right(model)
        with torch.no_grad():
            next(found.backbone.blocks[0].parameters()).mul_(1.01)  # type: ignore[union-attr, index]
        return found

    monkeypatch.setattr(networks, "deepcopy", copy)
    found = failures("networks", setting)
    for part in ("content", "structure"):
        assert f"{part}, float32 against the CPU, gradient" in found


@pytest.mark.slow
def test_a_checkpoint_that_is_not_loaded_is_found(
    setting: Setting, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Fresh weights instead of those that were saved."""

    def fresh(*args: Any, checkpoint: Path) -> GeneratorState:
        return GeneratorState(*args)

    monkeypatch.setattr(processes, "GeneratorState", fresh)
    assert failures("processes", setting) == ["DDP resumed, losses", "FSDP2 resumed, losses"]


def test_waits_are_told_by_their_place(monkeypatch: pytest.MonkeyPatch) -> None:
    """As torch warns of them; other warnings are none."""
    monkeypatch.setattr(torch.cuda, "set_sync_debug_mode", lambda mode: None)

    def call() -> None:
        for _ in range(2):
            warnings.warn("called a synchronizing CUDA operation", stacklevel=1)
        warnings.showwarning("something else", UserWarning, __file__, 1)

    (place,) = (found := waits.waits(call, CPU))
    assert found[place] == 2
    assert place.startswith("tests/gpu/test_parts.py:")


@pytest.mark.slow
def test_few_libraries_are_needed(tmp_path: Path) -> None:
    """Every part runs without those that the guide does not name, and all its checks hold."""
    code = (
        f"import sys; sys.modules.update(dict.fromkeys({NOT_NEEDED}))\n"
        "from tests.gpu.__main__ import main\n"
        f"for name in {[*PARTS]}: main(['--tiny', '--here', name, '--out', {str(tmp_path)!r}])"
    )
    run = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    found = {name: read(name, tmp_path) for name in PARTS}
    assert {n: t["reason"] for n, t in found.items() if t and t["outcome"] != "ok"} == {
        "tests": "pytest, hypothesis: not installed"
    }
    assert [n for n, t in found.items() if not t or not (t["entries"] or n == "tests")] == []
