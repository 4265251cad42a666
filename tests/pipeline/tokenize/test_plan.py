"""Planning: the same tasks every time, and a manifest that identifies what they make."""

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nvg.store import Split
from nvg.store.format import read_parquet
from pipeline.recipe import Recipe
from pipeline.sources import FolderSource, Row, split_rows
from pipeline.tokenize.plan import order_bytes, plan_chunks, plan_rows, rows_of
from tests.makers import tiny_recipe, write_image_folder
from tests.nvg.store.makers import empty_store


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
    plan = plan_rows(5, source)
    assert plan.val_rows == 5
    assert plan.rows[:7] == train
    assert plan.rows[7:] == [replace(row, split=Split.VAL) for row in val]


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
