"""Most tests of this package look into the files of a store of version 1."""

from pathlib import Path

import pytest

from nvg.store import Store
from tests.nvg.store.makers import make_plain_store


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """A finished store of 10 rows in 3 chunks with 2 views; rows 3 and 7 are error rows."""
    return make_plain_store(tmp_path / "tokens.vgs", 10, 2, bad=(3, 7))
