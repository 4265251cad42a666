"""The decoder in a store."""

from nvg.format.base import StoreError
from nvg.store.store import Store
from nvg.tokenizer.autoencoder import Detokenizer
from nvg.tokenizer.detokenizer import DETOKENIZER_FILE, load_detokenizer


def store_detokenizer(store: Store) -> Detokenizer:
    """Load the decoder of a store; StoreError when its file is missing."""
    try:
        return load_detokenizer(store.read(DETOKENIZER_FILE))
    except FileNotFoundError:
        raise StoreError(
            f"{store.path} has lost its {DETOKENIZER_FILE}, which decodes its tokens: "
            "repair it with `nvgctl tokenize ... --resume`"
        ) from None
