"""What a process of an evaluation does, and that many do it as one."""

import json
from pathlib import Path

import pytest
import torch

from nvg.config import dump
from nvg.sampling.config import Compile, SamplerConfig
from pipeline.evaluation.generation_tasks import (
    EvaluationJob,
    GenerationOptions,
    RealBatch,
    SampledBatch,
    open_networks,
)
from pipeline.recipe import DataConfig, Recipe, SourceKind
from tests.makers import tiny_recipe, write_image_folder
from tests.nvg.metrics.makers import CLASSIFIED
from tests.nvg.sampling.makers import write_run
from tests.processes import run_verb

LABELS = [0, 0, 1, 1, 2, 2]
CONFIG = SamplerConfig(flow_steps=1)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run, and beside it a dozen real images."""
    root = tmp_path_factory.mktemp("tasks")
    write_image_folder(root / "real", per_class=4, size=20)
    return write_run(root)


def real(run: Path) -> Recipe:
    """Of the real images, five held out."""
    data = DataConfig(source=SourceKind.FOLDER, path=str(run.parent / "real"), heldout=5)
    return tiny_recipe(run.parent / "real", data=data)


def test_a_process_samples_and_reads(run: Path) -> None:
    """Batches of any size are the images of one; the ones to show are those that were named."""
    options = GenerationOptions(batch_size=4, compile=Compile.OFF, extractor=CLASSIFIED)
    job = EvaluationJob(run, options, LABELS, real(run))
    networks = open_networks(job)
    whole = networks.generators.images(LABELS, 7, CONFIG)
    values = networks.extractor(whole)
    for images, shown in ((range(4), [1, 3]), (range(4, 6), [4])):
        features, tiles = networks.sample(SampledBatch(images, 7, CONFIG, shown))
        assert torch.equal(features.values, values[images.start : images.stop])
        assert torch.equal(torch.stack(tiles), whole[shown])
    facts = networks.facts(0)
    assert (facts.real, facts.size, len(facts.generators)) == ((7, 5), 8, 2)
    parts = [networks.read(RealBatch(True, images)).values for images in (range(3), range(3, 5))]
    assert torch.equal(torch.cat(parts), networks.read(RealBatch(True, range(5))).values)


@pytest.mark.slow
@pytest.mark.ray
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning")
def test_processes_and_actors_measure_the_same(run: Path, tmp_path: Path) -> None:
    """Report, picture and sweep of two processes and of two actors are those of one."""
    dump(real(run), tmp_path / "recipe.toml")
    fast = ("--extractor", CLASSIFIED, "--batch-size", "4", "--set", "sample.flow_steps=1")
    verb = ("evaluate", "generation", run, "--data", tmp_path / "recipe.toml", *fast)
    sweep = ("--sweep", "sample.top_p=0.5,0.9", "-n", "10")
    for name, processes, flags in (("one", 1, ()), ("two", 2, ()), ("ray", 1, ("--workers", 2))):
        out = ("--out", tmp_path / name)
        said = run_verb(processes, *verb, "-n", 22, *out, *flags)
        assert said.count("22 generated") == 1
        run_verb(processes, *verb, *sweep, *out, *flags)
    for name in ("two", "ray"):
        for file in ("generation.json", "generation.png", "sweep.jsonl"):
            made, wanted = (tmp_path / each / file for each in (name, "one"))
            assert made.read_bytes() == wanted.read_bytes(), file
    assert json.loads((tmp_path / "one" / "generation.json").read_text())["real"] == 7
