"""What the autoencoder is fed: pixels, and label maps where the structure is given.

Legend: B image of a batch, N position, D row or column of pixels or of the grid.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class ImageBatch:
    """Images in memory, those that could not be read left out."""

    pixels: Array
    """uint8 [B, 3, D, D]."""
    segments: Array | None = None
    """Region of every latent position, int32 [B, N], for builders that take label maps."""
    keys: tuple[str, ...] = ()
    """Names of the images, where they have some."""
    kept: Array | None = None
    """Which of the rows that were asked for are here, bool; None where all are."""

    def tensors(self, device: torch.device) -> tuple[Tensor, Tensor | None]:
        """Both on a device."""
        segments = None if self.segments is None else torch.from_numpy(self.segments).to(device)
        return torch.from_numpy(self.pixels).to(device), segments

    def split(self, asked: Sequence[int]) -> list["ImageBatch"]:
        """One batch for so many of the rows that were asked for after another; no copies."""
        kept = np.ones(len(self.pixels), bool) if self.kept is None else self.kept
        here = np.concatenate(([0], np.cumsum(kept)))  # how many of the first n rows
        ends = here[np.cumsum([0, *asked])].tolist()
        cuts = [slice(start, end) for start, end in pairwise(ends)]
        maps = self.segments
        return [
            ImageBatch(self.pixels[cut], None if maps is None else maps[cut], self.keys[cut])
            for cut in cuts
        ]


@dataclass(frozen=True)
class RandomCrop:
    """Cut images at random places, which depend on the seed and on each image's key alone."""

    seed: int
    resize: float
    """Short side of the image that is cut from, in image sizes."""


class Images(Protocol):
    """Random access to images; unreadable ones are left out of a batch."""

    def __len__(self) -> int: ...

    def batch(self, rows: Array) -> ImageBatch:
        """The readable images among `rows`."""


class TrainingImages(Images, Protocol):
    """Images that can be cut elsewhere than in the centre, for training."""

    def batch(self, rows: Array, crop: RandomCrop | None = None) -> ImageBatch:
        """The readable images among `rows`: their centre crops, or random ones."""
