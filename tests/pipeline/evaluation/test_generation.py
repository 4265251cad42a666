"""`nvgctl evaluate generation`: balanced samples, the report, the floor, warnings, refusals."""

import json
import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

from cli.app import app
from nvg.config import dump
from nvg.errors import InputError
from pipeline.evaluation.generation import balanced
from pipeline.recipe import DataConfig, SourceKind
from tests.makers import tiny_recipe, write_image_folder
from tests.nvg.metrics.makers import CLASSIFIED
from tests.nvg.sampling.makers import write_run


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


def test_few_images_are_warned_of(folder: Path, tmp_path: Path) -> None:
    """In two digits, with what they cannot say; floats stay whole in the report."""
    code, said = evaluate(folder, "--extractor", CLASSIFIED, "-n", 12, "--out", tmp_path)
    assert code == 0, said
    assert "±" not in said.splitlines()[0].partition("class score")[0]
    assert re.search(r"precision (0|1\.0|0\.0?\d\d?), recall", said)
    report = json.loads((tmp_path / "generation.json").read_text())
    assert (report["result"]["images"], report["result"]["kid_std"]) == (12, None)
    warned = [line for line in said.splitlines() if line.startswith("warning: ")]
    assert warned == [
        f"warning: {line}"
        for line in dict.fromkeys(report["result"]["warnings"] + report["floor"]["warnings"])
    ]
    assert any("of 12 images is too large" in line for line in warned)
    assert any("of 12 images has no ±" in line for line in warned)


def test_an_untrained_null_class_is_warned_of(folder: Path, tmp_path: Path) -> None:
    """Where guidance would use it, and only there."""
    flags = ("--extractor", CLASSIFIED, "-n", 6, "--out", tmp_path)
    untrained = ("--set", "generator.train.class_dropout_prob=0")
    plain = ("--set", "sample.content_guidance=1", "--set", "sample.structure_guidance=1")
    for more, expected in ((untrained, True), ((*untrained, *plain), False), ((), False)):
        code, said = evaluate(folder, *flags, *more)
        assert code == 0, said
        assert ("guidance needs the null class" in said) is expected


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
    (tmp_path / "run").mkdir()
    dump(tiny_recipe(folder / "real"), tmp_path / "recipe.toml")
    code, said = evaluate(tmp_path, "--extractor", CLASSIFIED)
    assert code == 2
    assert f"{tmp_path / 'run'} is no run of generators, since it has no config.toml: name" in said
