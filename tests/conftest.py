"""Fixtures that several packages use; the makers of each package build what they hand out."""

from pathlib import Path

import pytest
import torch

from nvg.store import Store
from tests.nvg.pretrained.makers import VIT
from tests.nvg.store.makers import make_store
from tests.nvg.tokenizer.makers import write_autoencoder


@pytest.fixture(scope="session")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run directory of an untrained tiny autoencoder, to be read only."""
    path = tmp_path_factory.mktemp("tokenizer")
    write_autoencoder(path)
    return path


@pytest.fixture(scope="session")
def vit_weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Random weights of a small timm transformer at its usual size, whose grid is not ours."""
    from nvg.pretrained.vit import timm_library

    path = tmp_path_factory.mktemp("vit") / "vit.pth"
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        torch.save(timm_library().create_model(VIT).state_dict(), path)
    return path


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """A finished store of 10 rows in 3 chunks with 2 views; rows 3 and 7 are error rows."""
    return make_store(tmp_path / "tokens.vgs", 10, 2, bad=(3, 7))
