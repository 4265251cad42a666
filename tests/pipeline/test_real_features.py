"""Features of real images: evenly spaced, held out apart, cached under what decides them."""

from pathlib import Path
from typing import Any

import pytest
import torch

from nvg.metrics.generation import Features
from nvg.pretrained.inception import Extractor
from pipeline import real_features as features
from pipeline.real_features import real_features
from pipeline.recipe import DataConfig, Recipe, SourceKind
from tests.makers import tiny_recipe, write_image_folder
from tests.nvg.metrics.makers import CLASSIFIED, Classified

KNOWN = Extractor("known", "0" * 64, Classified())


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Twelve real images, a cache of its own."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    write_image_folder(tmp_path / "real", per_class=4, size=20)
    return tmp_path


def recipe(folder: Path, heldout: int) -> Recipe:
    """With so many images held out."""
    data = DataConfig(source=SourceKind.FOLDER, path=str(folder / "real"), heldout=heldout)
    return tiny_recipe(folder / "real", data=data)


def test_parts_are_apart_and_limited(folder: Path) -> None:
    """Held-out images are not among the others; a limit holds for each part."""
    found = real_features(recipe(folder, 4), 8, KNOWN, None)
    assert found.heldout is not None
    assert (len(found.images.values), len(found.heldout.values)) == (8, 4)
    both = torch.cat([found.images.values, found.heldout.values])
    assert len(both.unique(dim=0)) == 12
    few = real_features(recipe(folder, 4), 8, KNOWN, 2)
    assert few.heldout is not None
    assert torch.equal(few.images.values, found.images.values[::4])
    assert torch.equal(few.heldout.values, found.heldout.values[::2])
    assert real_features(recipe(folder, 0), 8, KNOWN, None).heldout is None


def test_known_networks_are_asked_once(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A user's own every time: its code may change under one name."""
    taken: list[int] = []
    plain = features._features

    def counted(*given: Any) -> Features:
        taken.append(1)
        return plain(*given)

    monkeypatch.setattr(features, "_features", counted)
    first, again = (real_features(recipe(folder, 0), 8, KNOWN, None).images for _ in range(2))
    assert torch.equal(first.values, again.values)
    assert first.logits is not None
    assert again.logits is not None
    assert torch.equal(first.logits, again.logits)
    assert len(taken) == 1
    real_features(recipe(folder, 0), 9, KNOWN, None)
    real_features(recipe(folder, 0), 8, Extractor("known", "1" * 64, Classified()), None)
    assert len(taken) == 3
    for _ in range(2):
        real_features(recipe(folder, 0), 8, Extractor(CLASSIFIED, "", Classified()), None)
    assert len(taken) == 5
