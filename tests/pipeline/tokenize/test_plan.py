"""Planning: the same tasks every time, and a manifest that identifies what they make."""

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.recipe import Recipe
from pipeline.sources import FolderSource, Row
from pipeline.tokenize.plan import plan_chunks, plan_rows
from tests.makers import tiny_recipe, write_image_folder


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


def test_held_out_rows_are_not_tokenized(recipe: Recipe) -> None:
    """The plan covers exactly the other rows, in the source's order."""
    source = FolderSource(Path(recipe.data.path))
    planned = plan_rows(5, source).rows
    assert len(planned) == 12 - 5
    assert planned == [row for row in source.rows if row in set(planned)]


def test_a_plan_is_the_same_every_time(recipe: Recipe) -> None:
    """Listing the folder again gives equal tasks."""
    plans = [plan_rows(0, FolderSource(Path(recipe.data.path))) for _ in range(2)]
    assert plans[0] == plans[1]
