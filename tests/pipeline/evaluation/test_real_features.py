"""Features of real images: evenly spaced, held out apart, cached under what decides them."""

from pathlib import Path

import pytest
import torch

from nvg.metrics.generation import Features
from nvg.sampling.config import Compile
from pipeline.evaluation.generation_tasks import (
    EvaluationJob,
    GenerationOptions,
    Networks,
    RealBatch,
    open_networks,
)
from pipeline.evaluation.real_features import RealFeatures, real_features
from pipeline.recipe import DataConfig, SourceKind
from pipeline.team import open_team
from tests.makers import tiny_recipe, write_image_folder
from tests.nvg.metrics.makers import CLASSIFIED
from tests.nvg.sampling.makers import write_run


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve real images, and a run beside them."""
    root = tmp_path_factory.mktemp("real")
    write_image_folder(root / "real", per_class=4, size=20)
    return write_run(root)


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Of a test's own."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "nvg"


def taken(
    run: Path, heldout: int, most: int | None = None, known: str | None = None
) -> tuple[RealFeatures, list[range]]:
    """The features with so many images held out, and the batches that were read for them.

    By a user's network, or by the same as if it were one that is `known` by its weights.
    """
    data = DataConfig(source=SourceKind.FOLDER, path=str(run.parent / "real"), heldout=heldout)
    recipe = tiny_recipe(run.parent / "real", data=data)
    options = GenerationOptions(batch_size=4, compile=Compile.OFF, extractor=CLASSIFIED, real=most)
    job = EvaluationJob(run, options, [0], recipe)
    read: list[range] = []
    with open_team(lambda: open_networks(job)) as team, pytest.MonkeyPatch.context() as patch:
        (facts,) = team.map(Networks.facts, [0])
        if known:
            object.__setattr__(facts.extractor, "name", "known")
            object.__setattr__(facts.extractor, "weights", known)
        plain = Networks.read

        def counted(networks: Networks, task: RealBatch) -> Features:
            read.append(task.images)
            return plain(networks, task)

        patch.setattr(Networks, "read", counted)
        found = real_features(team, facts, heldout)
    assert found
    return found, read


def test_parts_are_apart_and_limited(run: Path) -> None:
    """Held-out images are not among the others; a limit holds for each part."""
    found, _ = taken(run, 4)
    assert found.heldout is not None
    assert (len(found.images.values), len(found.heldout.values)) == (8, 4)
    both = torch.cat([found.images.values, found.heldout.values])
    assert len(both.unique(dim=0)) == 12
    few, _ = taken(run, 4, most=2)
    assert few.heldout is not None
    assert torch.equal(few.images.values, found.images.values[::4])
    assert torch.equal(few.heldout.values, found.heldout.values[::2])
    assert taken(run, 0)[0].heldout is None


def test_known_networks_are_asked_once(run: Path, cache: Path) -> None:
    """A user's own every time: its code may change under one name. What is damaged is not used."""
    (first, read), (again, read_again) = (taken(run, 0, known="0" * 64) for _ in range(2))
    assert torch.equal(first.images.values, again.images.values)
    assert first.images.logits is not None
    assert again.images.logits is not None
    assert torch.equal(first.images.logits, again.images.logits)
    assert (read, read_again) == ([range(12)], [])
    for other in (taken(run, 0, most=3, known="0" * 64), taken(run, 0, known="1" * 64)):
        assert other[1]
    assert taken(run, 4, known="0" * 64)[1] == [range(8), range(4)]
    assert taken(run, 4, known="0" * 64)[1] == [range(4)]
    assert len(list(cache.iterdir())) == 4
    for kept in cache.iterdir():
        kept.write_bytes(b"damaged")
    assert [taken(run, 0, known="0" * 64)[1] for _ in range(2)] == [[range(12)], []]
    for _ in range(2):
        assert taken(run, 0)[1] == [range(12)]
    assert len(list(cache.iterdir())) == 4
