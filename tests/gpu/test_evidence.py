"""The evidence run at tiny sizes: every piece on the CPU, in boxes of time."""

import io
import json
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from nvg.choices import ParentSplit
from tests.gpu.__main__ import main
from tests.gpu.evidence import Evidence, evidence_of, run, time_box
from tests.makers import png_size, smooth_image


@pytest.fixture
def images(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two hundred smooth pictures in the layout of CIFAR-10's Parquet files."""
    rng, rows = np.random.default_rng(0), []
    for n in range(200):
        data = io.BytesIO()
        smooth_image(rng, 32).save(data, "png")
        rows.append({"bytes": data.getvalue(), "path": f"{n}.png"})
    table = pa.table({"img": rows, "label": [n % 10 for n in range(200)]})
    folder = tmp_path / "images"
    folder.mkdir()
    pq.write_table(table, folder / "cifar10-train-00000-of-00001.parquet")
    monkeypatch.setenv("NVG_TEST_DATA", str(folder))
    return folder


def test_the_recipe_is_complete(images: Path, tmp_path: Path) -> None:
    """All settings are known keys; the sizes are those that the run's page names."""
    recipe = evidence_of(tmp_path / "out", tiny=False).recipe
    assert recipe.autoencoder.train.steps == 12_000
    assert recipe.generator.train.steps == 20_000
    assert recipe.sample.split is ParentSplit.TOP_HALF
    assert len(recipe.tokenize.views) == 4


def test_a_box_of_time_ends_as_by_ctrl_c() -> None:
    """After the seconds it has; a box that is left in time rings no more."""
    with pytest.raises(KeyboardInterrupt), time_box(0.01):
        time.sleep(5)
    with time_box(0.01):
        pass
    time.sleep(0.02)


def test_the_command_names_what_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """One line and exit code 2 without images; a box without time leaves a run to go on with."""
    monkeypatch.delenv("NVG_TEST_DATA", raising=False)
    assert main(["train", "--out", str(tmp_path / "out")]) == 2
    assert "NVG_TEST_DATA is not set" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.usefixtures("drawn_curves")
def test_every_piece_runs_and_goes_on(
    images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run that is stopped leaves its report; the next call does the rest and only that."""

    def stop(_: Evidence) -> dict[str, object]:
        raise KeyboardInterrupt

    evidence = evidence_of(tmp_path / "out", tiny=True)
    with monkeypatch.context() as patched:
        patched.setattr(Evidence, "tokenize", stop)
        assert run(evidence, minutes=5) is False
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    assert list(report) == ["classifier", "tokenizer"]
    assert run(evidence, minutes=5) is True
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    assert list(report) == list(evidence.pieces())
    measures = report["measures"]
    assert 0 <= measures["read_as_asked"] <= 1
    assert measures["frechet (classifier)"] > measures["frechet (classifier), real held out"]
    assert measures["likelihood"]["val"]["images"] == 20
    assert png_size(tmp_path / "out" / "samples.png")[1] > 600
    assert (tmp_path / "out" / "generator" / "curves.png").exists()
    before = (tmp_path / "out" / "report.json").stat().st_mtime_ns
    assert run(evidence, minutes=1) is True
    assert (tmp_path / "out" / "report.json").stat().st_mtime_ns == before
