"""A store with an odd key."""

import pytest

from nvg.store import Store
from tests.nvg.store.makers import empty_store, index_table, random_arrays, write_rows
from tests.nvg.view.makers import NASTY


@pytest.fixture(scope="module")
def odd(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """Eight rows, row 5 an error; the key of row 0 tries to break out of the page."""
    store = empty_store(tmp_path_factory.mktemp("page") / "a.vgs", 8)
    arrays = random_arrays(store, bad=(5,))
    index = index_table(store, arrays, (5,))
    keys = [NASTY, *index["key"].to_pylist()[1:]]
    index = index.set_column(index.column_names.index("key"), "key", [keys])
    for chunk in range(store.chunks):
        write_rows(store, chunk, arrays, index)
    store.finish()
    return store
