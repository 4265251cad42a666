"""Most tests of this package look into the files of a store of version 1."""

import pytest

from nvg.store import Store


@pytest.fixture
def store(plain_store: Store) -> Store:
    """Of 10 rows in 3 chunks with 2 views; rows 3 and 7 are error rows."""
    return plain_store
