"""A source that goes away in the middle of a pass costs no image: --resume reads what was not."""

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from nvg.errors import WorkError
from nvg.store import open_store
from pipeline.recipe import Recipe
from pipeline.sources import Place
from tests.makers import files_below
from tests.pipeline.tokenize.makers import ROWS, photos, run


@pytest.fixture
def recipe(tmp_path: Path) -> Recipe:
    """A recipe over a folder of 20 files, three of them bad."""
    return photos(tmp_path / "images")


@pytest.fixture
def calm(tmp_path: Path, recipe: Recipe, tokenizer: Path) -> dict[str, bytes]:
    """The files of a store whose pass nothing disturbed."""
    run(recipe, tokenizer, tmp_path / "calm.vgs")
    return files_below(tmp_path / "calm.vgs")


def after(reads: int, happens: Callable[[], object], monkeypatch: pytest.MonkeyPatch) -> None:
    """Let something happen to the source when so many of its images have been read."""
    read, seen = Place._read_here, list[str]()

    def reading(place: Place, key: str) -> bytes | OSError:
        if len(seen) == reads:
            happens()
        seen.append(key)
        return read(place, key)

    monkeypatch.setattr(Place, "_read_here", reading)


def empty(folder: Path) -> None:
    """Remove what is in a folder."""
    for inner in folder.iterdir():
        shutil.rmtree(inner)


@pytest.mark.parametrize(
    "reads", [5, *(pytest.param(reads, marks=pytest.mark.thorough) for reads in (0, 8, ROWS - 1))]
)
def test_a_folder_that_is_moved_away_stops_the_pass(
    recipe: Recipe,
    tokenizer: Path,
    tmp_path: Path,
    calm: dict[str, bytes],
    monkeypatch: pytest.MonkeyPatch,
    reads: int,
) -> None:
    """Wherever: at once, within a chunk, between two, at the last image. No row is an error."""
    images, away, out = tmp_path / "images", tmp_path / "away", tmp_path / "a.vgs"
    with monkeypatch.context() as patch:
        after(reads, lambda: images.rename(away), patch)
        with pytest.raises(WorkError, match=r"images cannot be read just now .*--resume"):
            run(recipe, tokenizer, out)
    assert not open_store(str(out)).finished
    away.rename(images)
    run(recipe, tokenizer, out, resume=True)
    assert files_below(out) == calm


@pytest.mark.thorough
def test_a_mount_that_is_lost_stops_the_pass(
    recipe: Recipe,
    tokenizer: Path,
    tmp_path: Path,
    calm: dict[str, bytes],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Its folder is there, and empty: the chunk in which it went has error rows, the next stops."""
    images, kept, out = tmp_path / "images", tmp_path / "kept", tmp_path / "a.vgs"
    shutil.copytree(images, kept)
    with monkeypatch.context() as patch:
        after(6, lambda: empty(images), patch)
        with pytest.raises(WorkError, match="cannot be read just now"):
            run(recipe, tokenizer, out)
    reasons = open_store(str(out)).index["reason"].to_pylist()
    assert sum(reason.startswith("cannot be read") for reason in reasons) == 2
    shutil.rmtree(images)
    kept.rename(images)
    run(recipe, tokenizer, out, resume=True)
    assert files_below(out) == calm


@pytest.mark.thorough
def test_a_finished_store_gets_the_images_that_can_be_read_again(
    recipe: Recipe,
    tokenizer: Path,
    tmp_path: Path,
    calm: dict[str, bytes],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Of those that still cannot, no byte changes, nor of chunks that hold none."""
    out, read, lost = tmp_path / "a.vgs", Place._read_here, {"ant/000.png", "cat/004.png"}

    def reading(place: Place, key: str) -> bytes | OSError:
        return PermissionError(13, "Permission denied") if key in lost else read(place, key)

    monkeypatch.setattr(Place, "_read_here", reading)
    report = run(recipe, tokenizer, out)
    assert report.errors_by_kind["cannot be read"] == 2
    assert any("2 x cannot be read (--resume tries again)" in line for line in report.lines())
    report.require_read()
    with pytest.raises(WorkError, match="2 of 19 images could not be read"):
        replace(report, rows=19).require_read()
    before = files_below(out)
    assert run(recipe, tokenizer, out, resume=True).work.images == 0
    assert files_below(out) == before
    lost.clear()
    assert run(recipe, tokenizer, out, resume=True).work.images == 8
    assert files_below(out) == calm


def test_a_finished_store_has_no_journal(recipe: Recipe, tokenizer: Path, tmp_path: Path) -> None:
    """One of a process that died when all was read would name a chunk to the next pass for ever."""
    out = tmp_path / "t [1].vgs"
    run(recipe, tokenizer, out)
    left = [Path(f"{out}{name}.reading") for name in ("", ".part-2-of-3")]
    for path in left:
        path.write_text("4")
    run(recipe, tokenizer, out, resume=True)
    assert not any(path.exists() for path in left)
