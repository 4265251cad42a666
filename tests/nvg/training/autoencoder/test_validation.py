"""Looks at a tokenizer in training: what is left behind, and the warning of a collapse."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from PIL import Image

from nvg.distributed import World
from nvg.metrics.reconstruction import Reconstruction
from nvg.training.autoencoder.validation import Validation, warnings_of
from nvg.training.run_dir import Run
from tests.makers import tiny_recipe
from tests.nvg.tokenizer.makers import tiny_autoencoder
from tests.nvg.training.makers import Pictures, lines_of

HEALTHY = Reconstruction(
    images=100,
    mse=0.1,
    psnr=16.0,
    stage_error=[0.1] * 5,
    usage=1.0,
    stage_usage=[1.0] * 5,
    stage_share=[1.0] * 5,
    stage_perplexity=[1.0, 8.0, 9.0, 10.0, 12.0],
    stage_psnr=[10.0, 11.0, 12.0, 13.0, 16.0],
)


def test_a_look_leaves_a_line_and_a_picture(tmp_path: Path) -> None:
    """Measures per stage under `probe`, at its step; originals above reconstructions."""
    run = Run(tmp_path, tiny_recipe(), False, ("autoencoder",))
    model = tiny_autoencoder()
    found = Validation(Pictures(30), run, World(0, 1, torch.device("cpu"))).look(model, 50)
    assert found is not None
    (line,) = lines_of(tmp_path / "metrics.jsonl")
    assert line["step"] == 50
    assert line["probe"]["images"] == 30
    for name in ("stage_psnr", "stage_perplexity", "stage_share", "stage_usage", "stage_error"):
        assert line["probe"][name] == pytest.approx(getattr(found, name), abs=1e-5)
        assert len(line["probe"][name]) == 5
    with Image.open(tmp_path / "samples" / "step-00000050.png") as picture:
        assert picture.size[0] > 24 * 8
    run.close()


def test_a_collapse_is_told() -> None:
    """A stage with a perplexity near 1, except the first; else silence."""
    layout = tiny_autoencoder().quantizer.layout
    assert warnings_of(HEALTHY, layout, 16) == []
    poor = replace(HEALTHY, stage_perplexity=[1.0, 1.1, 9.0, 10.0, 12.0])
    (line,) = warnings_of(poor, layout, 16)
    assert line.startswith("stage 1 has a perplexity of 1.1 codes: it is collapsing")
    assert len(warnings_of(HEALTHY, layout, 4096)) == 2
