"""The decoder in a store."""

from pathlib import Path

import pytest
import torch

from nvg.format.base import StoreError
from nvg.store import Store
from nvg.view.decoder import store_detokenizer
from tests.nvg.tokenizer.makers import tiny_autoencoder


def test_it_decodes_as_the_stores_tokenizer_does(store: Store) -> None:
    """It decodes like the tokenizer of the fixture (untrained, seed 0)."""
    row = slice(0, 1)
    content, leaves = (
        torch.from_numpy(array[row, 0].astype("int64")) for array in (store.content, store.leaves)
    )
    with torch.no_grad():
        found = store_detokenizer(store).decode(content, leaves)
        wanted = tiny_autoencoder().decode(content, leaves)
    assert torch.equal(found, wanted)


def test_a_store_that_lost_it_names_the_remedy(store: Store) -> None:
    """The error is one line with the store, the file and the verb that repairs it."""
    (Path(store.path) / "detokenizer.safetensors").unlink()
    with pytest.raises(StoreError, match=r"lost its detokenizer\.safetensors.*--resume") as caught:
        store_detokenizer(store)
    assert store.path in str(caught.value)
