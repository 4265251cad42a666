"""The state of a checkpoint is read strictly; what an older version wrote is read too."""

import json
from pathlib import Path
from typing import Any

import pytest

from nvg.training.saved_state import read_state

GOLDEN = Path(__file__).resolve().parents[2] / "golden/v0.1"
STATE: dict[str, Any] = {
    "step": 4,
    "scores": {"content": 1.5},
    "loader": {"seed": 0, "epoch": 1, "position": 8, "mode": "stream", "window": 16},
    "store": {"rows": 10},
    "heldout": [{"step": 2, "content": 2.5}],
    "window": {"count": 1, "loss": 0.5},
    "of a later version": [1],
}


def test_a_state_is_read_as_it_is() -> None:
    """Unknown keys included; a mean that was NaN too."""
    assert read_state(json.dumps(STATE).encode(), 4) == STATE
    lost = {**STATE, "window": {"count": 1, "norm": float("nan")}}
    assert read_state(json.dumps(lost).encode(), 4)["window"]["count"] == 1


@pytest.mark.parametrize("file", sorted(GOLDEN.rglob("state.json")), ids=lambda f: f.parts[-4])
def test_those_of_version_0_1_are_read(file: Path) -> None:
    """They have one score and no mode of the loader."""
    step = int(file.parent.name.removeprefix("step-"))
    assert read_state(file.read_bytes(), step)["step"] == step


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("step", 5, "step is 5, not 4"),
        ("window", None, "window has no count"),
        ("window", {"count": -1}, "window has no count"),
        ("window", {"count": 1, "loss": "a"}, "window holds what is no number"),
        ("window", {"count": 1, "loss": True}, "window holds what is no number"),
        ("window", {"count": 1, "loss": 1e999}, "window holds what is no number"),
        ("scores", [], "scores is no JSON object"),
        ("scores", {"content": []}, "scores holds what is no number"),
        ("score", "a", "score is no number"),
        ("loader", 3, "loader is no JSON object"),
        ("loader", {"seed": 0, "epoch": 0}, r"loader\.position is no count"),
        ("loader", {**STATE["loader"], "window": 1.5}, r"loader\.window is no count"),
        ("loader", {**STATE["loader"], "mode": "x"}, r"loader\.mode is neither"),
        ("loader", {**STATE["loader"], "nodes": 0}, r"loader\.nodes is no number of nodes"),
        ("loader", {**STATE["loader"], "deals": [[2]]}, r"loader\.deals is no list"),
        ("loader", {**STATE["loader"], "deals": [[0, 4]]}, r"loader\.deals is no list"),
        ("loader", {**STATE["loader"], "deals": 3}, r"loader\.deals is no list"),
        ("loader", {**STATE["loader"], "deals": [[2, 9]]}, r"loader\.deals have shown more"),
        ("store", "a", "store is no JSON object"),
        ("heldout", {}, "heldout is no list"),
        ("heldout", [{"content": None}], "heldout holds what is no number"),
    ],
)
def test_what_cannot_be_is_named(key: str, value: Any, said: str) -> None:
    """Before a training goes on with it."""
    with pytest.raises(ValueError, match=said):
        read_state(json.dumps({**STATE, key: value}).encode(), 4)


@pytest.mark.parametrize("data", [b"", b"\xff", b"[" * 100_000, b"[]"])
def test_other_files_are_refused(data: bytes) -> None:
    """In plain words."""
    with pytest.raises(ValueError, match="it is n"):
        read_state(data, 4)
