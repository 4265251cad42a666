"""From stored tokens back to pictures, with nothing but what a store or a run carries."""

from pathlib import Path

from nvg.tokenizer.autoencoder import Detokenizer
from nvg.tokenizer.config import AutoencoderConfig
from nvg.weights import load_weights, read_config

DETOKENIZER_FILE = "detokenizer.safetensors"


def load_detokenizer(source: Path | bytes) -> Detokenizer:
    """Codebook, residual convs phi and decoder from a file or its bytes, in eval mode."""
    model = Detokenizer(read_config(AutoencoderConfig, source))
    load_weights(model, source)
    return model.eval()
