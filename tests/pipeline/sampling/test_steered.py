"""What steers is shown and said."""

from pathlib import Path

import numpy as np
import torch
from PIL import Image

from nvg.sampling.control import Condition, Control, condition_on_stages, edit_region
from nvg.sequence import Sequences
from pipeline.sampling.options import SampleOptions
from pipeline.sampling.references import picture_control
from pipeline.sampling.steered import steering_of
from tests.nvg.structure.kinds import random_leaves
from tests.nvg.tokenizer.makers import tiny_autoencoder


def drawn(path: Path, side: int) -> Path:
    """Black and white halves."""
    image = np.zeros((side, side), np.uint8)
    image[:, side // 2 :] = 255
    Image.fromarray(image).save(path)
    return path


def test_nothing_is_shown_where_nothing_steers() -> None:
    """Free samples."""
    assert steering_of(SampleOptions(), None, tiny_autoencoder()) is None


def test_a_drawing_stands_beside_its_map(tmp_path: Path) -> None:
    """At the last stage that it determines, which is said."""
    model, path = tiny_autoencoder(), drawn(tmp_path / "half.png", 64)
    geometry = model.config.geometry
    control = picture_control(path, None, geometry, 1)
    found = steering_of(SampleOptions(structure=path), control, model)
    assert found is not None
    assert found.said == f"{path} gives the structure of stages 0 to 1 of {geometry.K}"
    drawing, shown = found.tiles["drawing"], found.tiles["map, stage 1"]
    side = model.config.image_size
    assert drawing.shape == (side, side, 3)
    assert (drawing[:, : side // 2] == 0).all()
    assert (drawing[:, side // 2 :] == 255).all()
    half = geometry.grid // 2
    assert len(np.unique(shown[:, :half].reshape(-1, 3), axis=0)) == 1
    assert (shown[0, 0] != shown[0, -1]).any()


def test_a_reference_and_its_mask_are_shown() -> None:
    """White is sampled."""
    model = tiny_autoencoder()
    geometry = model.config.geometry
    leaves_BN = random_leaves(np.random.default_rng(0), (1,), geometry.grid)
    leaves = torch.from_numpy(leaves_BN.astype(np.int64))
    content = torch.zeros(1, geometry.tokens, dtype=torch.long)
    reference = Sequences(leaves, content, torch.tensor([-1]))
    marked_N = torch.zeros(geometry.positions, dtype=torch.bool)
    marked_N[: geometry.grid] = True  # the first row
    options = SampleOptions(reference="a.vgs:1", mask=Path("m.png"))
    found = steering_of(options, edit_region(reference, geometry, marked_N, 1), model)
    assert found is not None
    assert list(found.tiles) == ["reference", "mask"]
    assert (found.tiles["mask"][0] == 255).all()
    assert (found.tiles["mask"][1:] == 0).all()
    assert found.said.startswith("m.png: ")
    kept: Control = condition_on_stages(reference, geometry, Condition.ALL, 2, 1)
    found = steering_of(SampleOptions(reference="a.vgs:1"), kept, model)
    assert found is not None
    assert list(found.tiles) == ["reference", "map, stage 1"]
    assert "structure and tokens of stages 0 to 1" in found.said
