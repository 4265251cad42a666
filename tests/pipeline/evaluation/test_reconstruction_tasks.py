"""What a process of an evaluation of a tokenizer does, and that many do it as one."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from nvg.config import dump
from nvg.metrics.reconstruction import Rebuilt
from nvg.pretrained.lpips import Perceptual
from nvg.pretrained.names import EFFICIENTNET
from pipeline.evaluation.reconstruction_tasks import (
    RebuildJob,
    ReconstructionOptions,
    open_rebuilder,
)
from tests.makers import tiny_recipe, write_image_folder
from tests.nvg.pretrained.makers import OWN
from tests.nvg.tokenizer.makers import write_autoencoder
from tests.processes import run_verb


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Some batches of images, one image of them bad, recipe.toml and an untrained run."""
    write_image_folder(tmp_path / "images", per_class=50, size=20)
    (tmp_path / "images" / "bee" / "001.jpg").write_bytes(b"no image")
    dump(tiny_recipe(tmp_path / "images"), tmp_path / "recipe.toml")
    write_autoencoder(tmp_path / "run")
    return tmp_path


def test_batches_add_up(folder: Path) -> None:
    """Sums and features of parts are those of the whole; a bad image is counted, and nothing."""
    recipe = tiny_recipe(folder / "images")
    options = ReconstructionOptions(extractor=OWN, most=60)
    rebuilder = open_rebuilder(RebuildJob(folder / "run", recipe, options))
    whole, first, rest = (rebuilder.compare(range(*part)) for part in ((60,), (7,), (7, 60)))
    assert (whole.sums.images, whole.skipped) == (59, 1)
    assert (first.sums.images, first.skipped + rest.skipped) == (7, 1)
    assert first.ssim + rest.ssim == pytest.approx(whole.ssim, rel=1e-6)
    assert (whole.sums.hits_SV == first.sums.hits_SV + rest.sums.hits_SV).all()
    assert whole.real is not None
    assert first.real is not None
    assert rest.real is not None
    torch.testing.assert_close(whole.real, torch.cat([first.real, rest.real]))
    assert rebuilder.facts(0).images == 60


@pytest.mark.thorough
def test_distances_are_exact_float32(folder: Path) -> None:
    """SSIM and LPIPS, whatever autocast is around."""
    options = ReconstructionOptions(extractor=OWN)
    job = RebuildJob(folder / "run", tiny_recipe(folder / "images"), options)
    small = open_rebuilder(job)
    rebuilder = replace(small, perceptual={"lpips": Perceptual("random", 16)})
    generator, size = torch.Generator().manual_seed(0), (2, 3, 16, 16)
    pixels, rebuilt = (torch.randint(0, 256, size, generator=generator).byte() for _ in range(2))
    sums, found = small.compare(range(2)).sums, []
    for is_mixed in (False, True):
        with torch.autocast("cpu", torch.bfloat16, enabled=is_mixed):
            found.append(rebuilder.distances(Rebuilt(pixels, rebuilt, sums)))
    assert found[0] == found[1]
    assert found[0][1]["lpips"] > 0


@pytest.mark.thorough
def test_its_extractor_measures_each_image_too(folder: Path, efficientnet_package: Path) -> None:
    """EfficientNet's maps, by the name of what they are."""
    recipe = tiny_recipe(folder / "images")
    options = ReconstructionOptions(extractor=EFFICIENTNET, most=8)
    rebuilder = open_rebuilder(RebuildJob(folder / "run", recipe, options))
    assert rebuilder.facts(0).perceptual == {
        "feature_distance": "efficientnet-lite0 feature distance"
    }
    first, rest, whole = (rebuilder.compare(range(*part)) for part in ((3,), (3, 8), (8,)))
    sums = [each.perceptual["feature_distance"] for each in (first, rest, whole)]
    assert sums[0] + sums[1] == pytest.approx(sums[2], rel=1e-4)
    assert sums[2] > 0


@pytest.mark.slow
@pytest.mark.ray
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning")
def test_processes_and_actors_measure_the_same(folder: Path) -> None:
    """Report and picture of two processes and of two actors are those of one, to the byte."""
    verb = ("evaluate", "reconstruction", folder / "run", "--data", folder / "recipe.toml")
    for name, processes, flags in (("one", 1, ()), ("two", 2, ()), ("ray", 1, ("--workers", 2))):
        said = run_verb(processes, *verb, "--extractor", OWN, "--out", folder / name, *flags)
        assert said.count("149 images: PSNR") == 1
    for name in ("two", "ray"):
        for file in ("reconstruction.json", "reconstruction.png"):
            made, wanted = (folder / each / file for each in (name, "one"))
            assert made.read_bytes() == wanted.read_bytes(), file
