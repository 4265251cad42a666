"""docs/quickstart.ipynb runs, cell by cell, on small weights in place of the demo's."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

ROOT = Path(__file__).resolve().parents[1]
CELLS = json.loads((ROOT / "docs/quickstart.ipynb").read_text(encoding="utf-8"))["cells"]


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder like that of a checkout after the demo, as the notebook is started in."""
    kept = ROOT / "tests/golden/v0.1"
    for name in ("autoencoder", "generator"):
        shutil.copytree(kept / name, tmp_path / "runs/demo" / name)
    (tmp_path / "docs/gallery").mkdir(parents=True)
    shutil.copy(ROOT / "docs/gallery/sheet.png", tmp_path / "docs/gallery")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_cells_run_in_order(checkout: Path) -> None:
    """A photo is tokenized, its hierarchy drawn, pictures sampled and steered."""
    names: dict[str, Any] = {}
    for cell in CELLS:
        if cell["cell_type"] == "code":
            exec("".join(cell["source"]), names)
    geometry, side = names["geometry"], names["tokenizer"].size
    assert names["sequence"].content.shape == (1, geometry.tokens)
    assert isinstance(names["hierarchy"], Image.Image)
    assert [canvas.size for canvas in names["canvases"]] == [(side, side)] * geometry.stages
    assert names["samples"].shape == names["steered"].shape == (4, 3, side, side)
    assert not names["samples"].equal(names["steered"])


def test_the_notebook_carries_no_outputs() -> None:
    """They would be out of date, and large; each code cell has text above it or is its sequel."""
    code = [cell for cell in CELLS if cell["cell_type"] == "code"]
    assert [cell for cell in code if cell["outputs"] or cell["execution_count"]] == []
    assert CELLS[0]["cell_type"] == "markdown"
