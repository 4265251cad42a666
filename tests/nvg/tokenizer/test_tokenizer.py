"""Five lines of Python: pictures to sequences and back, and samples of a run."""

from pathlib import Path

import numpy as np
import pytest
import torch

import nvg
from nvg.weights import CheckpointError
from tests.nvg.sampling.makers import write_run
from tests.nvg.tokenizer.makers import write_autoencoder


def pictures(count: int, size: int) -> torch.Tensor:
    """Noise, uint8 [B, 3, D, D]."""
    noise = np.random.default_rng(1).integers(0, 256, (count, 3, size, size), dtype=np.uint8)
    return torch.from_numpy(noise)


def test_pictures_go_there_and_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As the model itself does, whatever the batch; every stage can be looked at."""
    write_autoencoder(tmp_path / "run")
    tokenizer = nvg.load_tokenizer(str(tmp_path / "run"))
    model = nvg.load_autoencoder(tmp_path / "run")
    pixels = pictures(5, tokenizer.size)
    leaves, content, _ = model.tokenize(pixels)
    monkeypatch.setattr("nvg.tokenizer.tokenizer.BATCH", 2)
    found = tokenizer.tokenize([picture.permute(1, 2, 0).numpy() for picture in pixels])
    assert torch.equal(found.leaves, leaves.long())
    assert torch.equal(found.content, content.long())
    assert found.label.tolist() == [-1] * 5
    for stage in (None, 0):
        wanted = model.decode(found.content, found.leaves, stage)
        assert torch.equal(tokenizer.decode(found, stage, kind="tensor"), wanted)
    assert [each.size for each in tokenizer.decode(found)] == [(tokenizer.size,) * 2] * 5


def test_a_folder_without_a_tokenizer_is_refused(tmp_path: Path) -> None:
    """With its name and the remedy."""
    with pytest.raises(CheckpointError, match="holds no autoencoder"):
        nvg.load_tokenizer(tmp_path)


def test_samples_of_a_run(tmp_path: Path) -> None:
    """By class names or numbers, by the settings of the run, changed where they are given."""
    write_run(tmp_path)
    (tmp_path / "run" / "config.toml").write_text("[sample]\nflow_steps = 2\ntop_p = 1.0\n")
    generators = nvg.load_generators(str(tmp_path / "run"))
    assert (generators.settings.flow_steps, generators.settings.top_p) == (2, 1.0)
    made = generators.sample([generators.classes[2], 0], seed=3, kind="tensor")
    assert torch.equal(made, generators.images([2, 0], 3, generators.settings))
    few = generators.sample([2, 0], seed=3, kind="tensor", flow_steps=1, top_p=0.1)
    assert torch.equal(
        few, generators.images([2, 0], 3, nvg.SamplerConfig(flow_steps=1, top_p=0.1))
    )
    (picture,) = generators.sample([1])
    assert picture.size == made.shape[2:]
    with pytest.raises(ValueError, match="no class is given"):
        generators.sample([])
