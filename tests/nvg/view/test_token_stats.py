"""Codebook usage over a store; the chunk size does not matter."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from nvg.format.index import stage_error_sum
from nvg.store import Store, open_store
from nvg.view.token_stats import measure_usage, usage_lines
from tests.nvg.store.makers import (
    empty_store,
    index_table,
    make_store,
    random_arrays,
    write_rows,
)


def test_uses_do_not_depend_on_chunks(tmp_path: Path) -> None:
    """Equal for other chunk sizes, and over the first rows when limited."""
    stores = [
        make_store(tmp_path / f"{size}.vgs", 23, 2, bad=(0, 5, 22), chunk_rows=size)
        for size in (4, 7, 100)
    ]
    uses = [measure_usage(store) for store in stores]
    assert uses[0] == uses[1] == uses[2]
    assert measure_usage(stores[0], 9) == measure_usage(stores[1], 9) != uses[0]


@pytest.mark.thorough
def test_uniform_tokens_have_full_entropy(tmp_path: Path) -> None:
    """Random tokens of 16 codes use all codes with nearly 4 bits."""
    last = measure_usage(make_store(tmp_path / "a.vgs", 200, 2))[-1]
    assert (last.clusters, last.codes, last.reach) == (16, 16, 1.0)
    assert 3.99 < last.entropy <= 4.0


def test_a_store_without_readable_images_has_none(tmp_path: Path) -> None:
    """A store without rows gives an empty table."""
    store = make_store(tmp_path / "a.vgs", 3, bad=(0, 1, 2))
    assert measure_usage(store) == []
    assert usage_lines([]) == []


def test_mean_errors_leave_error_rows_out(tmp_path: Path) -> None:
    """Each stage's mean over the rows that have one."""
    store = open_store(make_store(tmp_path / "a.vgs", 5, bad=(1,)).path)
    errors = [use.error for use in measure_usage(store)]
    assert np.allclose(errors, [1 / (n + 1) for n in range(5)])
    _, count = stage_error_sum(store.index, 5)
    assert count == 4


def test_held_out_rows_change_no_figure(tmp_path: Path) -> None:
    """Usage, entropy and residual are those of a store that does not have them."""
    rows, stores = 20, list[Store]()
    for more in (0, 7):
        held_out = range(rows, rows + more)
        store = empty_store(tmp_path / f"{more}.vgs", rows + more, val_rows=more)
        arrays = random_arrays(store, seed=1)
        if more:
            first = random_arrays(stores[0], seed=1)
            for name, values in first.items():
                arrays[name][:rows] = values
        index = index_table(store, arrays, val=held_out)
        errors = [[float(row), *range(4)] for row in range(rows)] + [[1e9] * 5] * more
        place = index.column_names.index("stage_error")
        column = pa.array(errors, pa.list_(pa.float32()))
        index = index.set_column(place, "stage_error", column)
        for chunk in range(store.chunks):
            write_rows(store, chunk, arrays, index)
        store.finish()
        stores.append(store)
    assert measure_usage(stores[0]) == measure_usage(stores[1])
    assert measure_usage(stores[1])[0].error == np.mean(range(rows))
