"""The tokenizer as a Python user meets it: pictures to sequences and back.

Legend: B image of a batch, N position, T token.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from nvg.distributed import default_device
from nvg.fetch import Use, fetched
from nvg.sequence import Sequences
from nvg.tokenizer.autoencoder import Autoencoder, load_autoencoder
from nvg.tokenizer.pictures import Kind, Pictures, as_kind, to_pixels

BATCH = 64  # images at once


@dataclass(frozen=True)
class Tokenizer:
    """An autoencoder on its device, fed with pictures."""

    model: Autoencoder
    device: torch.device

    @property
    def size(self) -> int:
        """Pixels of a picture's side."""
        return self.model.config.image_size

    def tokenize(self, pictures: Pictures) -> Sequences:
        """Leaves [B, N] and content [B, 2N-1] of pictures of any size, without a class.

        They are cut as `to_pixels` says. The tokens are those that `nvgctl tokenize` stores of the
        same pixels.
        """
        parts = []
        for pixels in to_pixels(pictures, self.size).split(BATCH):
            leaves, content, _ = self.model.tokenize(pixels.to(self.device))
            label = torch.full((len(pixels),), -1)
            parts.append(Sequences(leaves.cpu().long(), content.cpu().long(), label))
        return Sequences.join(parts)

    def decode(self, sequences: Sequences, stage: int | None = None, kind: str = Kind.PIL) -> Any:
        """Pictures of sequences after a stage (the last by default), as a `Kind`."""
        sequences = sequences.check(self.model.config.geometry).to(self.device)
        batches = zip(sequences.content.split(BATCH), sequences.leaves.split(BATCH), strict=True)
        pixels = torch.cat([self.model.decode(*batch, stage) for batch in batches])
        return as_kind(pixels, kind)


def load_tokenizer(run: str | Path, device: str | torch.device | None = None) -> Tokenizer:
    """The tokenizer of an autoencoder's run or weights file, on the accelerator where there is one.

    The place may be a URL, from which it is fetched once (`nvg.fetch`). CheckpointError where there
    is none.
    """
    place = torch.device(device) if device else default_device()
    return Tokenizer(load_autoencoder(fetched(run, Use.TOKENIZER)).to(place), place)
