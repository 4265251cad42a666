"""Curves of a training: a picture where there is something to draw, and something to draw with."""

import io
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from nvg.view.curves import curves_png, draw_curves


def lines_of_a_run(parts: tuple[str, ...], rise: float = 0.0) -> list[dict[str, Any]]:
    """Three lines of losses and two of held-out losses of some generators."""
    terms = {
        "content": {"content": 2.0, "entropy": [1.0, 2.0], "canvas": [0.1, 0.2], "token_bits": 9.0},
        "structure": {"structure": 0.5, "flow": [0.4, 0.6], "structure_bits": 5.0},
    }
    logged = {"content": {"entropy": 1.4, "canvas": 0.3}, "structure": {"flow": 0.6}}
    lines: list[dict[str, Any]] = []
    for step in (10, 20, 30):
        lines.append({"step": step, **{k: v for part in parts for k, v in logged[part].items()}})
    for step in (20, 30):
        train = {name: value for part in parts for name, value in terms[part].items()}
        val = dict(train)
        if "content" in parts:
            val["content"] = 2.0 + rise * step
        lines.append({"step": step, "heldout": {"train": train, "val": val}})
    return lines


@pytest.mark.thorough
@pytest.mark.parametrize("parts", [("content",), ("structure",), ("content", "structure")])
def test_a_row_of_panels_for_each_generator(parts: tuple[str, ...]) -> None:
    """The picture is as high as there are generators; a loss that differs is drawn differently."""
    picture = curves_png(lines_of_a_run(parts))
    assert picture is not None
    image = np.asarray(Image.open(io.BytesIO(picture)).convert("L"))
    assert image.shape[0] == pytest.approx(480 * len(parts), abs=2)
    assert (image < 128).mean() > 0.005
    again = curves_png(lines_of_a_run(parts, rise=0.1))
    assert (again != picture) == ("content" in parts)


def test_nothing_is_drawn_without_heldout_losses(tmp_path: Path) -> None:
    """A run on a store without held-out rows has no picture."""
    lines = [line for line in lines_of_a_run(("content",)) if "heldout" not in line]
    assert curves_png(lines) is None
    (tmp_path / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    draw_curves(tmp_path / "metrics.jsonl")
    assert not (tmp_path / "curves.png").exists()


@pytest.mark.thorough
@pytest.mark.usefixtures("drawn_curves")
def test_the_picture_lies_beside_the_metrics(tmp_path: Path) -> None:
    """metrics-content.jsonl of one generator gives curves-content.png."""
    text = "".join(json.dumps(line) + "\n" for line in lines_of_a_run(("content",)))
    for name in ("metrics", "metrics-content"):
        (tmp_path / f"{name}.jsonl").write_text(text)
        draw_curves(tmp_path / f"{name}.jsonl")
    found = sorted(path.name for path in tmp_path.glob("*.png"))
    assert found == ["curves-content.png", "curves.png"]


def test_without_matplotlib_training_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is an extra: no picture, no error."""
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    assert curves_png(lines_of_a_run(("content",))) is None


@pytest.mark.thorough
@pytest.mark.usefixtures("drawn_curves")
def test_damaged_lines_are_left_out(tmp_path: Path) -> None:
    """NULs after a power cut, half a line, a line that is no table: the rest is drawn."""
    lines = lines_of_a_run(("content",))
    for name, more in (("metrics", ""), ("metrics-torn", '\0\0\0\n7\n{"step": 1')):
        text = more + "\n" * bool(more) + "".join(json.dumps(line) + "\n" for line in lines)
        (tmp_path / f"{name}.jsonl").write_text(text)
        draw_curves(tmp_path / f"{name}.jsonl")
    assert (tmp_path / "curves.png").read_bytes() == (tmp_path / "curves-torn.png").read_bytes()
