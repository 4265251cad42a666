"""The micro-batches of a step of the autoencoder."""

from dataclasses import dataclass

import torch
from torch import Tensor

from nvg.host_copy import sent
from nvg.tokenizer.autoencoder import from_pixels
from nvg.tokenizer.image_batch import ImageBatch


@dataclass(frozen=True)
class Part:
    """A micro-batch on the device: uint8 pixels, label maps where there are some."""

    share: float
    """Of the images of the step."""
    pixels: Tensor
    segments: Tensor | None

    @property
    def images(self) -> Tensor:
        """The images in [-1, 1], converted when they are needed."""
        return from_pixels(self.pixels)


def parts_of(batch: ImageBatch, count: int, device: torch.device) -> list[Part]:
    """At most so many micro-batches of nearly equal size."""
    arrays = [each for each in (batch.pixels, batch.segments) if each is not None]
    pixels, *maps = sent([torch.from_numpy(each) for each in arrays], device)
    segments = maps[0] if maps else None
    count = min(count, len(pixels))
    cuts = [None] * count if segments is None else segments.tensor_split(count)
    return [
        Part(len(part) / len(pixels), part, cut)
        for part, cut in zip(pixels.tensor_split(count), cuts, strict=True)
    ]
