"""Alignment of a generator's hidden tokens with features of the image (REPA; A.4: 8th block).

Legend: B image of a batch, N position, W width, F feature channel, P component of a stored
feature.
"""

import torch.nn.functional as F
from torch import Tensor, nn

from nvg.format.base import CODEC, FEATURES, StoreError
from nvg.precision import Part, numbers
from nvg.store import Store
from nvg.store.feature_codec import FeatureCodec

HIDDEN = 2048  # width of the projector, as in REPA


class Aligner(nn.Module):
    """A projector of hidden tokens, and the codec of the features it is to meet. Training only."""

    def __init__(self, width: int, codec: FeatureCodec) -> None:
        super().__init__()
        self.codec = codec.requires_grad_(False)
        self.projector = nn.Sequential(
            nn.Linear(width, HIDDEN),
            nn.SiLU(),
            nn.Linear(HIDDEN, HIDDEN),
            nn.SiLU(),
            nn.Linear(HIDDEN, codec.shape.width),
        )
        for layer in self.projector:
            if isinstance(layer, nn.Linear):
                nn.init.xavier_uniform_(layer.weight)
                nn.init.zeros_(layer.bias)

    def forward(self, hidden_BNW: Tensor, codes_BNP: Tensor) -> Tensor:
        """1 - cosine similarity, mean over positions and images: 0 aligned, 1 unrelated."""
        found_BNF = self.projector(hidden_BNW).float()
        with numbers(Part.FEATURES, hidden_BNW.device):
            wanted_BNF = self.codec.decode(codes_BNP)
        return 1 - F.cosine_similarity(found_BNF, wanted_BNF, dim=-1).mean()


def aligner_of(width: int, store: Store) -> Aligner:
    """An aligner for a store's features; StoreError when it keeps none, or lost their codec."""
    if FEATURES not in store.arrays:
        raise StoreError(
            f"{store.path} holds no features to align with: tokenize with [tokenize.features], "
            "or train with generator.train.align = 0"
        )
    try:
        return Aligner(width, FeatureCodec.from_bytes(store.read(CODEC)))
    except FileNotFoundError:
        raise StoreError(
            f"{store.path} has lost its {CODEC}: repair it with `nvgctl tokenize ... --resume`"
        ) from None
