"""`nvgctl evaluate generation`: balanced samples, the report, the floor, the cache, refusals."""

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from cli.app import app
from nvg.config import dump
from nvg.errors import InputError
from nvg.metrics.generation import Features
from nvg.pretrained.inception import Extractor
from pipeline import evaluate_generation as verb
from pipeline.evaluate_generation import balanced
from pipeline.recipe import DataConfig, SourceKind
from tests.makers import tiny_recipe, write_image_folder
from tests.nvg.metrics.makers import CLASSIFIED, Classified
from tests.nvg.sampling.makers import write_run

CACHED = "shrink"  # an extractor of the registry for the time of a test


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Real images with a held-out third, recipe.toml and a run."""
    root = tmp_path_factory.mktemp("evaluate")
    write_image_folder(root / "real", per_class=8, size=20)
    data = DataConfig(source=SourceKind.FOLDER, path=str(root / "real"), heldout=8)
    dump(tiny_recipe(root / "real", data=data), root / "recipe.toml")
    write_run(root)
    return root


def evaluate(folder: Path, *flags: object) -> tuple[int, str]:
    """Exit code and output of the verb."""
    arguments = ["evaluate", "generation", folder / "run", "--data", folder / "recipe.toml"]
    fast = ["--set", "sample.flow_steps=1"]
    done = CliRunner().invoke(app, [str(each) for each in (*arguments, *fast, *flags)])
    return done.exit_code, done.output


def test_labels_are_balanced() -> None:
    """Every class as often, but for the rest; none without classes."""
    assert balanced(3, 7) == [0, 0, 0, 1, 1, 2, 2]
    assert balanced(0, 2) == [-1, -1]
    with pytest.raises(InputError, match="at least 1"):
        balanced(3, 0)


def test_the_report_says_how_to_repeat_it(folder: Path, tmp_path: Path) -> None:
    """Counts, seed, settings, extractor; the floor of real images; the same numbers again."""
    flags = ("--extractor", CLASSIFIED, "-n", 12, "--seed", 4, "--out", tmp_path)
    code, said = evaluate(folder, *flags)
    assert code == 0, said
    report = json.loads((tmp_path / "generation.json").read_text())
    assert (report["generated"], report["real"], report["seed"]) == (12, 16, 4)
    assert report["sample"]["flow_steps"] == 1
    assert report["extractor"] == CLASSIFIED
    assert report["result"]["inception_score"] >= 1
    assert report["floor"]["frechet"] < report["result"]["frechet"]
    assert (tmp_path / "generation.png").is_file()
    assert "FID" not in said
    assert "8 real, held out" in said
    assert evaluate(folder, *flags)[0] == 0
    assert json.loads((tmp_path / "generation.json").read_text()) == report
    assert evaluate(folder, *flags, "--real", 6)[0] == 0
    assert json.loads((tmp_path / "generation.json").read_text())["real"] == 6


def test_features_of_real_images_are_cached(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """For known networks, under what decides them; other images make another entry."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    asked: list[int] = []
    real = verb._features

    def counted(*given: Any) -> Features:
        asked.append(1)
        return real(*given)

    def known(name: str, weights: object, device: object) -> Extractor:
        return Extractor(name, "0" * 64, Classified())

    monkeypatch.setattr(verb, "_features", counted)
    monkeypatch.setattr(verb, "load_extractor", known)
    flags = ("--extractor", CACHED, "-n", 6, "--out", tmp_path)
    results = []
    for more in ((), (), ("--set-data", "data.heldout=5")):
        assert evaluate(folder, *flags, *more)[0] == 0
        results.append(json.loads((tmp_path / "generation.json").read_text())["result"])
    assert results[0] == results[1]
    assert len(list((tmp_path / "cache" / "nvg").glob("features-*.safetensors"))) == 2
    assert len(asked) == 5  # real + floor, floor, real + floor


def test_bad_requests_are_one_line(folder: Path, tmp_path: Path) -> None:
    """Missing weights, unknown networks, too few images, a run that is none."""
    for flags, words in (
        ((), "inception-v3-compat needs --weights"),
        (("--weights", tmp_path / "none.pth"), "is no file"),
        (("--extractor", "resnet", "--weights", folder / "recipe.toml"), "unknown extractor"),
        (("--extractor", CLASSIFIED, "-n", 3), "3 images are too few"),
    ):
        code, said = evaluate(folder, *flags)
        assert code == 2, said
        assert words in said.strip().splitlines()[-1]
    code, said = evaluate(tmp_path, "--extractor", CLASSIFIED)
    assert code == 2
