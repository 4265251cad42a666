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
from tests.gpu.evidence import evidence_of, run, time_box
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


@pytest.mark.slow
def test_every_piece_runs_and_goes_on(images: Path, tmp_path: Path) -> None:
    """A box that is too short leaves a part; the next call does the rest and only that."""
    evidence = evidence_of(tmp_path / "out", tiny=True)
    assert run(evidence, minutes=0.01) is False
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
