"""`nvgctl merge` and `subset`: one line, one store; refusals with exit code 2."""

from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from cli.app import app
from tests.nvg.compose.makers import two_stores
from tests.nvg.store.makers import flip_chunk


def nvgctl(*arguments: object) -> Result:
    """One call, in this process."""
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """a.vgs, b.vgs, and both as c.vgs."""
    stores = [store.path for store in two_stores(str(tmp_path))]
    done = nvgctl("merge", *stores, "--out", tmp_path / "c.vgs")
    assert done.exit_code == 0, done.output
    assert "17 rows of 2 stores, 5 classes, no array copied" in done.stdout
    return tmp_path


def test_verbs_read_a_merged_store(folder: Path) -> None:
    """verify, inspect, a sheet, export."""
    store = folder / "c.vgs"
    assert "intact, 17 rows" in nvgctl("verify", store).stdout
    assert "rows of     a.vgs (10 rows)" in nvgctl("inspect", store).stdout
    assert "plant-4" in nvgctl("inspect", store, "--key", "plant-4").stdout
    assert nvgctl("inspect", store, "--row", 12, "--png", folder / "x.png").exit_code == 0
    done = nvgctl("export", store, "--format", "arrow", "--out", folder / "x.arrow")
    assert "wrote 15 images" in done.stdout


def test_refusals_are_one_line(folder: Path) -> None:
    """Overlapping keys, a taken place, a part that has moved; verify says where damage is."""
    taken = nvgctl("merge", folder / "a.vgs", folder / "b.vgs", "--out", folder / "c.vgs")
    same = nvgctl("merge", folder / "a.vgs", folder / "a.vgs", "--out", folder / "d.vgs")
    flip_chunk(folder / "b.vgs", "content", 1)
    damaged = nvgctl("verify", folder / "c.vgs")
    assert damaged.exit_code == 1
    assert "b.vgs, chunk 1: " in damaged.stderr
    assert "repair the store of its rows that a line names" in damaged.stderr
    (folder / "a.vgs").rename(folder / "moved.vgs")
    moved = nvgctl("inspect", folder / "c.vgs")
    for done, said in (
        (taken, "exists"),
        (same, "10 keys are in an earlier store too"),
        (moved, "cannot open its part"),
    ):
        assert (done.exit_code, done.stderr.count("\n")) == (2, 1)
        assert said in done.stderr


@pytest.mark.thorough
def test_a_mixture_needs_a_weight_a_store(folder: Path) -> None:
    """Before anything is read or written."""
    start = ("train", "generator", "datasets/digits.toml", "--out", folder / "run", "--store", "a")
    for more, said in (
        (("--store", "b", "--weights", "1"), "1 weights for 2 stores"),
        (("--weights", "0.7,0.3"), "give --store for each"),
    ):
        done = nvgctl(*start, *more)
        assert (done.exit_code, done.stderr.count("\n")) == (2, 1)
        assert said in done.stderr
    assert not (folder / "run").exists()


def test_a_subset_is_a_store(folder: Path) -> None:
    """By class and split, out of a merged store; nothing asked for is refused."""
    out = folder / "d.vgs"
    done = nvgctl("subset", folder / "c.vgs", "--out", out, "--class", "bee", "--split", "train")
    assert done.exit_code == 0, done.output
    assert "of the 17 rows of" in done.stdout
    assert "intact" in nvgctl("verify", out).stdout
    refused = nvgctl("subset", folder / "c.vgs", "--out", folder / "e.vgs")
    assert (refused.exit_code, refused.stderr.count("\n")) == (2, 1)


def test_duplicates_are_asked_for_alone(folder: Path) -> None:
    """The flag prints them; beside others, or without them --stages, it is refused."""
    done = nvgctl("inspect", folder / "c.vgs", "--duplicates", "--stages", 1)
    assert (done.exit_code, done.stdout.splitlines()[1]) == (0, "stages   groups     rows")
    for flags, said in (
        (("--stages", 1), "--stages needs --duplicates"),
        (("--duplicates", "--row", 1), "--duplicates excludes rows"),
        (("--duplicates", "--stages", 9), "there is no stage 9"),
    ):
        refused = nvgctl("inspect", folder / "c.vgs", *flags)
        assert (refused.exit_code, refused.stderr.count("\n")) == (2, 1)
        assert said in refused.stderr
