"""Structure measures of a store, against their definitions."""

from pathlib import Path

import numpy as np
import pytest
import torch

from nvg.errors import InputError
from nvg.format.base import TOKENIZER_FILE
from nvg.quantizer.granularity import load_quantizer
from nvg.store import Store
from nvg.view.structure_stats import structure_lines
from tests.nvg.store.makers import empty_store


def test_structure_is_measured_on_the_final_canvases(store: Store) -> None:
    """Variance per stage equals numpy's over the canvases of all rows with tokens."""
    lines = structure_lines(store)
    quantizer, rows = load_quantizer(store.read(TOKENIZER_FILE), store.geometry), store.ok_rows()
    leaves = store.leaves[:][rows, 0]
    content = torch.from_numpy(store.content[:][rows, 0].astype(np.int64))
    canvas = quantizer.canvas(content, torch.from_numpy(leaves)).numpy()
    assert str(len(rows)) in lines[0]
    for stage, line in enumerate(lines[2:]):
        squares = []
        for image, leaf in zip(canvas, leaves, strict=True):
            label = leaf >> (4 - stage)
            parts = [image[label == cluster] for cluster in range(2**stage)]
            squares += [((part - part.mean(0)) ** 2).sum() for part in parts]
        expected = sum(squares) / canvas.size
        assert float(line.split()[2]) == pytest.approx(expected, abs=1e-5)
    assert lines[2].split()[3] == "0.0%"
    assert lines[-1].split()[3] == "100.0%"


def test_structure_without_a_good_row_is_refused(tmp_path: Path) -> None:
    """A store without committed rows is an error."""
    with pytest.raises(InputError, match="no tokenized row"):
        structure_lines(empty_store(tmp_path / "new.vgs", 8))
