"""A whole store in memory."""

import numpy as np

from nvg.loader.preload import bytes_of, free_bytes, preload
from nvg.loader.token_reader import TokenReader
from nvg.store import Store


def test_preloading_is_reading_all(store: Store) -> None:
    """The whole store, and as many bytes as were foretold."""
    reader = TokenReader(store)
    tokens, wanted = preload(reader), reader.read(range(3))
    for name in ("leaves", "content", "label"):
        assert np.array_equal(getattr(tokens, name), getattr(wanted, name))
    parts = (tokens.leaves, tokens.content, tokens.label)
    assert bytes_of(reader) == sum(part.nbytes for part in parts)
    assert free_bytes() > 10**6
