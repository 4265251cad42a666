"""The decoder a store carries."""

from nvg.store.format import StoreError
from nvg.store.store import Store
from nvg.tokenizer.autoencoder import Detokenizer
from nvg.tokenizer.detokenizer import DETOKENIZER_FILE, load_detokenizer


def store_detokenizer(store: Store) -> Detokenizer:
    """The decoder a store carries; StoreError when it has lost it."""
    try:
        return load_detokenizer(store.read(DETOKENIZER_FILE))
    except FileNotFoundError:
        raise StoreError(
            f"{store.path} has lost its {DETOKENIZER_FILE}, which draws its tokens: mend it with "
            "`nvgctl tokenize ... --resume`"
        ) from None
