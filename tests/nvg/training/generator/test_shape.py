"""The scale of the canvases of every stage, against a slow loop over single images."""

from pathlib import Path

import pytest
import torch

from nvg.choices import CanvasScale
from nvg.format.base import TOKENIZER_FILE
from nvg.quantizer.granularity import load_quantizer
from nvg.store import Store
from nvg.training.generator import shape
from tests.nvg.generator.makers import SMALL
from tests.nvg.store.makers import make_store
from tests.nvg.training.generator.makers import shape_for

STAGES, POSITIONS, CHANNELS = 5, 16, 4


def slow_rms(store: Store, rows: list[int]) -> list[float]:
    """Every number of every canvas of these rows' first view squared and counted, one by one."""
    quantizer = load_quantizer(store.read(TOKENIZER_FILE), store.geometry)
    found = []
    for stage in range(STAGES):
        total = 0.0
        for row in rows:
            content = torch.tensor(store.content[row, 0].astype("int64")).unsqueeze(0)
            leaves = torch.tensor(store.leaves[row, 0].astype("int64")).unsqueeze(0)
            canvas = quantizer.canvas(content, leaves, stage)
            total += sum(value**2 for value in canvas.flatten().tolist())
        found.append((total / (len(rows) * POSITIONS * CHANNELS)) ** 0.5)
    return found


@pytest.mark.thorough
@pytest.mark.parametrize(("most", "rows"), [(4096, [0, 2, 3, 5, 6, 7, 8]), (3, [0, 3, 6])])
def test_the_scale_of_canvases_equals_the_slow_loop(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, most: int, rows: list[int]
) -> None:
    """1 before stage 0, then after each stage: of images from all over, but errors and val."""
    monkeypatch.setattr(shape, "SCALE_ROWS", most)
    monkeypatch.setattr(shape, "SCALE_BATCH", 2)
    store = make_store(tmp_path / "store.vgs", 12, views=2, bad=[1, 4], val=[9, 10, 11])
    found = shape_for(SMALL, store, canvas_scale=CanvasScale.STAGE).canvas_rms
    assert found == pytest.approx([1, *slow_rms(store, rows)], rel=1e-5)


def test_a_scale_by_the_codebook_measures_no_canvas(store: Store) -> None:
    """It has a number already."""
    assert shape_for(SMALL, store).canvas_rms == ()


def test_canvases_of_zeros_have_scale_1(store: Store) -> None:
    """So that none is divided by 0: a codebook of zeros, and convolutions that add nothing."""
    quantizer = load_quantizer(store.read(TOKENIZER_FILE), store.geometry)
    for parameter in quantizer.parameters():
        parameter.zero_()
    assert shape.canvas_rms(store, quantizer) == (1.0,) * (STAGES + 1)
