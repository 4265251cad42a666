"""The report of a pass: true counts, and figures that an independent count confirms."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from nvg.errors import WorkError
from nvg.store import open_store
from nvg.view.token_stats import measure_usage
from pipeline.tokenize.dataset import PassMode, tokenize_dataset
from pipeline.tokenize.engine import Engine
from pipeline.tokenize.estimate import plan_lines
from pipeline.tokenize.report import Report
from tests.makers import tiny_recipe, write_image_folder
from tests.pipeline.images.makers import picture
from tests.pipeline.tokenize.makers import BAD, ROWS, photos, run


@pytest.fixture(scope="module")
def made(tokenizer: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Report, Path]:
    """The report of a pass over 20 files, three of them bad, and its store, to be read only."""
    folder = tmp_path_factory.mktemp("made")
    out = folder / "a.vgs"
    return tokenize_dataset(photos(folder / "images"), tokenizer, str(out)), out


def test_errors_are_counted_by_kind(made: tuple[Report, Path]) -> None:
    """The reason without its details; the sum is the number of errors."""
    report, _ = made
    assert (report.rows, report.errors) == (ROWS, len(BAD))
    assert report.errors_by_kind["not an image"] >= 1
    assert sum(report.errors_by_kind.values()) == len(BAD)
    assert all(":" not in kind for kind in report.errors_by_kind)


def test_usage_and_entropy_are_those_of_the_tokens(made: tuple[Report, Path]) -> None:
    """Counted token by token over all views and readable rows."""
    report, out = made
    store = open_store(str(out))
    good = store.ok_rows()
    for use in report.stages:
        tokens = store.content[:][good][..., store.geometry.stage_slice(use.stage)].ravel().tolist()
        share = {code: tokens.count(code) / len(tokens) for code in set(tokens)}
        assert use.codes == len(share)
        assert use.reach == len(share) / min(16, len(tokens))
        assert use.entropy == pytest.approx(-sum(p * np.log2(p) for p in share.values()), abs=1e-9)
        errors = [e["stage_error"][use.stage] for e in store.index.to_pylist() if e["stage_error"]]
        assert use.error == pytest.approx(sum(errors) / len(errors))


def test_splits_are_counted(tokenizer: Path, tmp_path: Path) -> None:
    """On the screen and in the file; usage is over the rows for training."""
    recipe = photos(tmp_path / "images")
    recipe = replace(recipe, data=replace(recipe.data, heldout=6))
    report = tokenize_dataset(recipe, tokenizer, str(tmp_path / "a.vgs"))
    assert report.lines()[0].endswith(f"a.vgs: {ROWS} images (14 train, 6 val), {len(BAD)} errors")
    assert json.loads((tmp_path / "a.vgs.report.json").read_text())["val_rows"] == 6
    store = open_store(str(tmp_path / "a.vgs"))
    assert report.stages == measure_usage(store)
    assert set(store.index["split"].to_pylist()[:14]) == {"train"}


def test_pictures_that_needed_more_are_counted(tokenizer: Path, tmp_path: Path) -> None:
    """On the screen and in the file: turned, laid on the background, enlarged."""
    write_image_folder(tmp_path / "images", ["ant"], 6)
    exif = Image.Exif()
    exif[0x0112] = 8
    for name in ("000.png", "002.png", "004.png"):
        picture().save(tmp_path / "images" / "ant" / name, exif=exif)
    Image.new("LA", (9, 9)).save(tmp_path / "images" / "ant" / "clear.png")
    Image.new("L", (99, 7)).save(tmp_path / "images" / "ant" / "low.png")
    report = run(tiny_recipe(tmp_path / "images"), tokenizer, tmp_path / "a.vgs")
    lines = [line.strip() for line in report.lines() if " picture" in line]
    assert lines == [
        "3 pictures turned upright by EXIF",
        "1 picture transparent, laid on data.background",
        "1 picture smaller than the model's, enlarged",
    ]
    assert json.loads((tmp_path / "a.vgs.report.json").read_text())["enlarged"] == 1
    work = json.loads((tmp_path / "a.vgs.report.json").read_text())["work"]
    assert sorted(work["pictures"].values()) == [1, 3]


def test_files_that_are_no_rows_are_counted(tokenizer: Path, tmp_path: Path) -> None:
    """In the plan, on the screen and in the file."""
    write_image_folder(tmp_path / "images", ["ant", "."], 2)
    recipe = tiny_recipe(tmp_path / "images")
    line = "left out: 2 files: 2 outside a class folder"
    assert line in plan_lines(recipe)
    assert line in run(recipe, tokenizer, tmp_path / "a.vgs").lines()
    report = json.loads((tmp_path / "a.vgs.report.json").read_text())
    assert report["left_out"] == {"outside a class folder": 2}


def test_a_pass_fails_where_too_many_images_do(made: tuple[Report, Path]) -> None:
    """With the first reasons; as many as allowed are none too many."""
    report, out = made
    report.require_images(None)
    report.require_images(len(BAD))
    with pytest.raises(WorkError, match=rf"{out}: 3 of its 20 .* could not be read, 2 may be") as e:
        report.require_images(len(BAD) - 1)
    assert "ant/bad.jpg: not an image; bee/000.png: empty file" in str(e.value)
    with pytest.raises(WorkError, match="none of its 20 images could be read; the first: ant"):
        replace(report, errors=report.rows).require_images(None)


def test_the_work_is_timed(made: tuple[Report, Path]) -> None:
    """Each step took time, none more than the pass, in which they overlap; rates follow."""
    work = made[0].work
    assert work.images == ROWS
    assert min(work.seconds.values()) > 0
    assert max(work.seconds.values()) <= work.elapsed
    assert made[0].rates()["decode"] == pytest.approx(ROWS / work.seconds["decode"])


def test_one_screen_says_it_all(made: tuple[Report, Path]) -> None:
    """Counts, errors by kind, speed, and a line for each stage; short lines, and few."""
    lines = made[0].lines()
    assert lines[0] == f"{made[1]}: {ROWS} images, {len(BAD)} errors"
    assert any("images/s" in line and "inline" in line for line in lines)
    assert len(lines) <= 24
    assert sum(line.lstrip()[0].isdigit() for line in lines) >= 5
    assert max(map(len, lines[1:])) <= 100


def test_the_report_is_written_beside_the_store(tokenizer: Path, tmp_path: Path) -> None:
    """As JSON; a pass with nothing to do leaves it, and one that repairs replaces it."""
    recipe, out = photos(tmp_path / "images"), tmp_path / "a.vgs"
    report = tokenize_dataset(recipe, tokenizer, str(out))
    file = tmp_path / "a.vgs.report.json"
    written = json.loads(file.read_text())
    assert written["rows"] == ROWS
    assert written["errors_by_kind"] == report.errors_by_kind
    assert written["stages"][2]["entropy"] == report.stages[2].entropy
    before = file.read_bytes()
    again = tokenize_dataset(recipe, tokenizer, str(out), Engine.INLINE, PassMode.RESUME)
    assert file.read_bytes() == before
    assert again.work.images == 0
    assert again.lines()[0] == report.lines()[0]
    (out / "commits" / "00000.json").unlink()
    tokenize_dataset(recipe, tokenizer, str(out), Engine.INLINE, PassMode.RESUME)
    assert json.loads(file.read_text())["work"]["images"] == ROWS
