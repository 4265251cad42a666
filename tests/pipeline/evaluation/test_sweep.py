"""`nvgctl evaluate generation --sweep`: all combinations, resumed, in one table; refusals."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from cli.app import app
from nvg.config import dump
from nvg.errors import WorkError
from pipeline.evaluation.generation import Evaluation
from pipeline.evaluation.generation_tasks import Networks
from pipeline.evaluation.sweep import split_values
from pipeline.recipe import DataConfig, SourceKind
from tests.makers import png_size, tiny_recipe, write_image_folder
from tests.nvg.metrics.makers import CLASSIFIED
from tests.nvg.sampling.makers import write_run

SWEEP = ("--sweep", "sample.top_p=0.5,0.9", "--sweep", "sample.solver=euler,heun")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Real images, recipe.toml and a run."""
    root = tmp_path_factory.mktemp("sweep")
    write_image_folder(root / "real", per_class=4, size=20)
    data = DataConfig(source=SourceKind.FOLDER, path=str(root / "real"))
    dump(tiny_recipe(root / "real", data=data), root / "recipe.toml")
    write_run(root)
    return root


def evaluate(folder: Path, *flags: object) -> tuple[int, str]:
    """Exit code and output of the verb."""
    arguments = ["evaluate", "generation", folder / "run", "--data", folder / "recipe.toml"]
    fast = ["--set", "sample.flow_steps=1", "--extractor", CLASSIFIED, "-n", 6]
    done = CliRunner().invoke(app, [str(each) for each in (*arguments, *fast, *flags)])
    return done.exit_code, done.output


def lines_of(path: Path) -> list[dict[str, Any]]:
    """The records of a sweep."""
    return [json.loads(line) for line in (path / "sweep.jsonl").read_text().splitlines()]


@pytest.mark.thorough
def test_every_combination_is_measured_once(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a single evaluation would; the real images once for all; another value adds its own."""
    taken: list[int] = []
    plain = Networks.read

    def counted(*given: Any) -> Any:
        taken.append(1)
        return plain(*given)

    monkeypatch.setattr(Networks, "read", counted)
    code, said = evaluate(folder, *SWEEP, "--out", tmp_path)
    assert code == 0, said
    assert "4 combinations of 6 images each" in said
    assert len(taken) == 1
    records = lines_of(tmp_path)
    wanted = [("0.5", "euler"), ("0.5", "heun"), ("0.9", "euler"), ("0.9", "heun")]
    assert [tuple(record["settings"].values()) for record in records] == wanted
    assert records[3]["sample"]["flow_steps"] == 1
    assert png_size(tmp_path / "sweep.png")[0] > 500
    table = said[said.index("top_p  solver") :].splitlines()
    assert re.match(r"0\.5 +euler", table[1].strip())
    assert sum("best" in row for row in table) == 1

    single = ("--set", "sample.top_p=0.9", "--set", "sample.solver=heun")
    assert evaluate(folder, *single, "--out", tmp_path)[0] == 0
    report = json.loads((tmp_path / "generation.json").read_text())
    assert report["result"] == records[3]["result"]

    measured: list[int] = []
    original = Evaluation.measure

    def watched(*given: Any) -> Any:
        measured.append(1)
        return original(*given)

    monkeypatch.setattr(Evaluation, "measure", watched)
    more = ("--sweep", "sample.top_p=0.5,0.7,0.9", *SWEEP[2:])
    code, said = evaluate(folder, *more, "--out", tmp_path)
    assert code == 0, said
    assert "4 of them are in" in said
    assert len(measured) == 2
    assert evaluate(folder, *more, "--out", tmp_path, "--seed", 1)[0] == 0
    assert len(measured) == 8


@pytest.mark.thorough
def test_what_was_finished_stays(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A sweep that fails at the third combination goes on there."""
    original, calls = Evaluation.measure, [0]

    def failing(*given: Any) -> Any:
        calls[0] += 1
        if calls[0] == 3:
            raise WorkError("stopped")
        return original(*given)

    monkeypatch.setattr(Evaluation, "measure", failing)
    code, said = evaluate(folder, *SWEEP, "--out", tmp_path)
    assert (code, len(lines_of(tmp_path))) == (1, 2), said
    assert evaluate(folder, *SWEEP, "--out", tmp_path)[0] == 0
    assert (len(lines_of(tmp_path)), calls[0]) == (4, 5)


def test_values_are_split_at_their_commas() -> None:
    """Lists and quoted text stay whole."""
    assert split_values("1.5,[1, 3.5],2") == ["1.5", "[1, 3.5]", "2"]
    assert split_values('"a,b", c') == ['"a,b"', "c"]
    assert split_values("[[1,2],[3]],'x,'") == ["[[1,2],[3]]", "'x,'"]
    assert split_values("") == [""]
    assert split_values("1,") == ["1", ""]


@pytest.mark.parametrize(
    ("sweeps", "words"),
    [
        (["sample.tpo_p=0.5"], "unknown key sample.tpo_p"),
        (["sample.top_p=0.5,1.5"], "run/config.toml: sample: top_p must be in"),
        (["sample.top_p=nan"], "sample.top_p must be a finite number"),
        (["sample.top_p="], "has an empty value"),
        (["sample.top_p"], "has an empty value"),
        (["sample.top_p=0.5,0.50"], "--sweep sample.top_p=0.50 is there twice"),
        (["sample.top_p=0.5", "sample.top_p=0.9"], "sample.top_p is given twice"),
        (["generator.train.lr=1,2"], "only settings of sampling"),
    ],
)
def test_bad_sweeps_are_one_line(
    folder: Path, tmp_path: Path, sweeps: list[str], words: str
) -> None:
    """Before any work."""
    flags = [part for sweep in sweeps for part in ("--sweep", sweep)]
    code, said = evaluate(folder, *flags, "--out", tmp_path)
    assert code == 2, said
    assert words in said.strip().splitlines()[-1]
    assert list(tmp_path.iterdir()) == []


def test_a_damaged_line_is_named(folder: Path, tmp_path: Path) -> None:
    """Nothing of the file is overwritten."""
    (tmp_path / "sweep.jsonl").write_text('{"identity": "a"}\n')
    code, said = evaluate(folder, *SWEEP, "--out", tmp_path)
    assert code == 2
    assert "sweep.jsonl line 1 is no result of a sweep" in said
    assert (tmp_path / "sweep.jsonl").read_text() == '{"identity": "a"}\n'
