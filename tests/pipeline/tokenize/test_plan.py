"""Planning: the same tasks every time, and a manifest that identifies what they make."""

import pickle
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nvg.format.base import StoreError, read_parquet
from nvg.store import Split, open_store
from pipeline.recipe import DataConfig, Recipe, SourceKind
from pipeline.sources import FolderSource, Row, Rows, split_rows, webdataset
from pipeline.sources.rows import Entry, PartListing
from pipeline.sources.splits import Part
from pipeline.tokenize import plan
from pipeline.tokenize.dataset import PassMode, tokenize_dataset
from pipeline.tokenize.engine import Engine
from pipeline.tokenize.part_pass import tokenize_share
from pipeline.tokenize.plan import order_bytes, plan_chunks, plan_rows, rows_of
from pipeline.tokenize.share import Share
from tests.makers import files_below, tiny_recipe, write_image_folder
from tests.nvg.store.makers import empty_store
from tests.pipeline.sources.makers import Listed, write_shards
from tests.pipeline.tokenize.makers import run, stopped
from tests.processes import ROOT


@pytest.fixture
def recipe(tmp_path: Path) -> Recipe:
    """A recipe over a folder of 12 images."""
    write_image_folder(tmp_path / "images")
    return tiny_recipe(tmp_path / "images")


@settings(deadline=None, max_examples=60)
@given(count=st.integers(0, 100), chunk_rows=st.integers(1, 30))
def test_chunks_are_consecutive_runs(count: int, chunk_rows: int) -> None:
    """Joined they are the rows, all but the last are full, and each knows where it starts."""
    rows = [Row(str(n), n % 3) for n in range(count)]
    tasks = plan_chunks(rows, chunk_rows)
    assert [row for task in tasks for row in task.rows] == rows
    assert [task.chunk for task in tasks] == list(range(len(tasks)))
    assert all(rows[task.start] == task.rows[0] for task in tasks)
    assert all(len(task.rows) == chunk_rows for task in tasks[:-1])
    assert all(task.rows for task in tasks)


def test_held_out_rows_come_last(recipe: Recipe) -> None:
    """After those to train on, which keep the places that they had alone; both in order."""
    source = FolderSource(Path(recipe.data.path))
    train, val = split_rows(source.rows, 5)
    found = plan_rows(5, source)
    assert found.val_rows == 5
    assert found.rows[:7] == train
    assert found.rows[7:] == [replace(row, split=Split.VAL) for row in val]


def test_a_store_without_held_out_rows_goes_on_without(recipe: Recipe, tmp_path: Path) -> None:
    """As it was begun before they were stored; one that has them goes on with them."""
    source = FolderSource(Path(recipe.data.path))
    empty_store(tmp_path / "old.vgs", 7)
    empty_store(tmp_path / "new.vgs", 12, val_rows=5)
    whole = plan_rows(5, source)
    old = plan_rows(5, source, str(tmp_path / "old.vgs"))
    assert (old.rows, old.val_rows) == (whole.rows[:7], 0)
    assert plan_rows(5, source, str(tmp_path / "new.vgs")) == whole


def test_the_order_of_an_extended_store_comes_back() -> None:
    """With splits in any order; without a held-out row its file is as it was before."""
    rows = [Row("a", 0), Row("b", -1, Split.VAL), Row("c", 2), Row("d", 1, Split.VAL)]
    assert rows_of(read_parquet(order_bytes(rows))) == rows
    table = read_parquet(order_bytes(rows[::2]))
    assert table.column_names == ["key", "label"]
    assert rows_of(table) == rows[::2]


def test_a_plan_is_the_same_every_time(recipe: Recipe) -> None:
    """Listing the folder again gives equal tasks."""
    plans = [plan_rows(0, FolderSource(Path(recipe.data.path))) for _ in range(2)]
    assert plans[0] == plans[1]


def test_a_shuffled_plan_has_the_same_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    """In runs of neighbours, in an order that is no other the next time; val rows stay last."""
    source = Listed(*[b""] * 1000)
    plain = plan_rows(100, source).rows
    one, other = (plan_rows(100, source, shuffle=True).rows for _ in range(2))
    assert one == other
    assert one[900:] == plain[900:]
    keys = [row.key for row in plain[:900]]
    runs = [keys[start : start + 64] for start in range(0, 900, 64)]
    found, rest = [], [row.key for row in one[:900]]
    while rest:
        run = next(run for run in runs if run[0] == rest[0])
        assert rest[: len(run)] == run
        found.append(runs.index(run))
        rest = rest[len(run) :]
    assert sorted(found) == list(range(15))
    assert found != sorted(found)


@pytest.mark.thorough
def test_a_shuffled_store_is_resumed_shared_out_and_extended(
    recipe: Recipe, tokenizer: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All come to the same bytes; extended, it keeps its rows and shuffles the new ones."""
    monkeypatch.setattr(plan, "SHUFFLED", 2)
    recipe = replace(recipe, tokenize=replace(recipe.tokenize, shuffle=True))
    run(recipe, tokenizer, tmp_path / "a.vgs")
    wanted = files_below(tmp_path / "a.vgs")
    keys = open_store(str(tmp_path / "a.vgs")).index["key"].to_pylist()
    source = [row.key for row in FolderSource(recipe.data.path).rows]
    assert keys != source
    assert sorted(keys) == source
    (tmp_path / "a.vgs" / "commits" / "00000.json").unlink()
    run(recipe, tokenizer, tmp_path / "a.vgs", resume=True)
    assert files_below(tmp_path / "a.vgs") == wanted
    for part in ("2/2", "1/2"):
        tokenize_share(recipe, tokenizer, str(tmp_path / "b.vgs"), Share.parse(part))
    assert files_below(tmp_path / "b.vgs") == wanted
    write_image_folder(Path(recipe.data.path), ("newt",), per_class=9)
    report = tokenize_dataset(
        recipe, tokenizer, str(tmp_path / "a.vgs"), Engine.INLINE, PassMode.EXTEND
    )
    grown = open_store(str(tmp_path / "a.vgs")).index["key"].to_pylist()
    assert grown[: len(keys)] == keys
    assert report.rows == len(keys) + 9
    assert grown[len(keys) :] != sorted(grown[len(keys) :])
    other = replace(recipe, tokenize=replace(recipe.tokenize, shuffle=False))
    with pytest.raises(StoreError, match="begun with another recipe"):
        run(other, tokenizer, tmp_path / "a.vgs", resume=True)


@pytest.mark.thorough
def test_resuming_counts_no_shard_again(
    recipe: Recipe, tokenizer: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was counted lies beside the store; the store comes out the same without it."""
    write_image_folder(tmp_path / "two", ("ant", "bee"), per_class=6)
    write_shards(FolderSource(tmp_path / "two"), tmp_path / "shards", per_shard=3, label="none")
    data = DataConfig(source=SourceKind.WEBDATASET, path=str(tmp_path / "shards"), heldout=2)
    packed, counted = replace(recipe, data=data), list[str]()
    count = webdataset._count_shard

    def note(part: Part) -> object:
        counted.append(part.name)
        return count(part)

    monkeypatch.setattr(webdataset, "_count_shard", note)
    stopped(packed, tokenizer, tmp_path / "a.vgs", (1,))
    run(packed, tokenizer, tmp_path / "b.vgs")
    shards = ["part-000.tar", "part-003.tar", "part-006.tar", "part-009.tar"]
    assert sorted(counted) == sorted(shards * 2)
    (tmp_path / "b.vgs" / "commits" / "00000.json").unlink()
    run(packed, tokenizer, tmp_path / "b.vgs", resume=True)
    assert len(counted) == 8
    run(packed, tokenizer, tmp_path / "a.vgs", resume=True)
    assert files_below(tmp_path / "a.vgs") == files_below(tmp_path / "b.vgs")


def test_a_task_travels_as_a_number(recipe: Recipe) -> None:
    """A plan over parts is pickled in a few bytes an image; its tasks are those of before."""
    listing = Rows.split(Thousand([1000] * 50), [False] * 50, [1000] * 50)
    chunks = plan_chunks(listing, 128)
    data = pickle.dumps(chunks)
    assert len(data) < 2000 + 16 * 50
    assert [row.key for row in pickle.loads(data)[390].rows] == [
        f"49:{n}" for n in range(920, 1000)
    ]
    assert sum(map(chunks.size, range(len(chunks)))) == 50_000


class Thousand(PartListing):
    """Keys are part and number."""

    def part(self, part: int, first: int, stop: int) -> list[Entry]:
        return [(f"{part}:{number}", 0) for number in range(first, stop)]


@pytest.mark.parametrize("module", ["pipeline.tokenize.plan", "pipeline.cluster"])
def test_workers_that_only_count_or_list_import_no_torch(module: str) -> None:
    """Each would hold half a gigabyte, and take seconds to start."""
    code = f"import sys, {module}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT).returncode == 0
