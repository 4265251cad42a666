"""A store behind https, which lists no folder: read as it is on a disk."""

from pathlib import Path

import numpy as np
import pytest

from nvg.loader import LoaderMode, SequenceLoader
from nvg.store import open_store
from tests.nvg.fetch.makers import serving
from tests.nvg.store.makers import make_plain_store


def test_a_store_is_read_from_a_server_of_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Verified, looked into, trained on; a lost commit record and a lost chunk are named."""
    monkeypatch.setenv("NVG_CACHE", str(tmp_path / "cache"))
    store = make_plain_store(tmp_path / "tokens.vgs", 10)
    with serving(tmp_path) as server:
        url = f"{server.url}/tokens.vgs"
        found = open_store(url)
        assert (len(found), found.committed(), found.verify()) == (10, [0, 1, 2], [])
        for one, other in zip(found.row_tokens([1, 9]), store.row_tokens([1, 9]), strict=True):
            assert np.array_equal(one, other)
        loader = SequenceLoader(found, 5, mode=LoaderMode.MEMORY)
        assert sum(len(batch.content) for batch in loader) == 10
        (tmp_path / "tokens.vgs/commits/00001.json").unlink()
        (fault,) = open_store(url).verify()
        assert fault.startswith("chunk 1: cannot be read")
