"""A store with an odd key, and a browser.

The browser tests drive Debian's Chromium, and are skipped where there is none.
"""

import shutil
from collections.abc import Iterator
from typing import Any

import pytest

from nvg.store import Store
from tests.nvg.store.makers import empty_store, index_table, random_arrays, write_rows
from tests.nvg.view.makers import NASTY

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")


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


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """Headless Chromium."""
    if not CHROMIUM:
        pytest.skip("no Chromium: ./justw browser installs Debian's")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as play:
        running = play.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield running
        running.close()
