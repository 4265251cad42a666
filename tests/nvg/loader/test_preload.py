"""A whole store in memory."""

from pathlib import Path

import numpy as np

from nvg.loader.preload import bytes_of, free_bytes, preload
from nvg.loader.token_reader import TokenReader
from nvg.store import Split, Store
from tests.nvg.store.makers import make_store


def test_preloading_is_reading_all(store: Store) -> None:
    """The whole store, and as many bytes as were foretold."""
    reader = TokenReader(store)
    tokens, wanted = preload(reader), reader.read(reader.pieces)
    for name in ("leaves", "content", "label"):
        assert np.array_equal(getattr(tokens, name), getattr(wanted, name))
    parts = (tokens.leaves, tokens.content, tokens.label)
    assert bytes_of(reader) == sum(part.nbytes for part in parts)
    assert free_bytes() > 10**6


def test_a_split_takes_the_memory_of_its_rows(tmp_path: Path) -> None:
    """Those of the other are not in it."""
    store = make_store(tmp_path / "a.vgs", 10, bad=(9,), val=(6, 7, 8, 9))
    for split, rows in ((Split.TRAIN, [0, 1, 2, 3, 4, 5]), (Split.VAL, [6, 7, 8])):
        reader = TokenReader(store, split=split)
        tokens = preload(reader)
        assert tokens.row.tolist() == rows
        assert np.array_equal(tokens.leaves, store.leaves[:][rows])
        assert bytes_of(reader) == sum(
            part.nbytes for part in (tokens.leaves, tokens.content, tokens.label)
        )
