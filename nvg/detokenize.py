"""From stored tokens back to pictures, with nothing but what a store or a run carries."""

from pathlib import Path

import torch

from nvg.autoencoder import Detokenizer
from nvg.autoencoder_config import AutoencoderConfig
from nvg.checkpoint import load_weights, read_config
from nvg.errors import InputError
from nvg.files import require_file_place, write_atomic
from nvg.picture import hierarchy, png_bytes
from nvg.store import OK, Store, StoreError

WEIGHTS = "detokenizer.safetensors"


def load_detokenizer(source: Path | bytes) -> Detokenizer:
    """Codebook, refiners and decoder from a file or its bytes, in eval mode."""
    model = Detokenizer(read_config(AutoencoderConfig, source))
    load_weights(model, source)
    return model.eval()


def store_detokenizer(store: Store) -> Detokenizer:
    """The decoder a store carries; StoreError when it has lost it."""
    try:
        return load_detokenizer(store.read(WEIGHTS))
    except FileNotFoundError:
        raise StoreError(
            f"{store.path} has lost its {WEIGHTS}, which draws its tokens: mend it with "
            "`nvgctl tokenize ... --resume`"
        ) from None


def draw_row(store: Store, row: int, png: Path) -> None:
    """Draw the hierarchy and the canvases of one row of a store. InputError for a bad row."""
    require_file_place(png)
    if not 0 <= row < len(store):
        raise InputError(f"row {row} is out of range: {store.path} has rows 0..{len(store) - 1}")
    entries = store.index.filter(store.index["row"].to_numpy() == row).to_pylist()
    if not entries or entries[0]["status"] != OK:
        reason = entries[0]["reason"] if entries else "it is not committed yet"
        raise InputError(f"row {row} of {store.path} has no tokens to draw: {reason}")
    leaves = torch.from_numpy(store.leaves[row])
    content = torch.from_numpy(store.content[row].astype("int64"))
    picture = hierarchy(store_detokenizer(store), leaves, content)
    write_atomic(png, png_bytes(picture))
