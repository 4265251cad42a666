"""The micro-batches of a step of the autoencoder, in one process or in several.

A step has `accumulate` of them in every process. Each has a number, its own images and its own
random draws, whoever computes it, so any number of processes trains the same.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from nvg.distributed import World
from nvg.host_copy import sent
from nvg.seeding import Rows, shard_seed
from nvg.tokenizer.autoencoder import from_pixels
from nvg.tokenizer.image_batch import ImageBatch


@dataclass(frozen=True)
class Part:
    """A micro-batch on the device: uint8 pixels, label maps where there are some."""

    number: int
    """Among those of the step."""
    before: int
    """Images of the step in the micro-batches before it."""
    of: int
    """Images of the step."""
    pixels: Tensor
    segments: Tensor | None

    @property
    def share(self) -> float:
        """Its fraction of the step's images."""
        return len(self.pixels) / self.of

    @property
    def images(self) -> Tensor:
        """The images in [-1, 1], converted when they are needed."""
        return from_pixels(self.pixels)


def rows_of(rows: Rows, world: World, accumulate: int) -> list[Rows]:
    """The rows of each micro-batch of this process: consecutive rows of the step, nearly equally
    many; none where there are fewer rows than micro-batches."""
    return np.array_split(rows, world.size * accumulate)[world.rank :: world.size]


def parts_of(batches: Sequence[ImageBatch], world: World) -> list[Part]:
    """This process's micro-batches but for empty ones, on its device. Collective."""
    counts = world.gather([len(batch.pixels) for batch in batches])
    sizes = [size for sizes in zip(*counts, strict=True) for size in sizes]
    arrays = [
        torch.from_numpy(array)
        for batch in batches
        for array in (batch.pixels, batch.segments)
        if array is not None
    ]
    tensors, parts = iter(sent(arrays, world.device)), []
    for micro, batch in enumerate(batches):
        pixels = next(tensors)
        segments = None if batch.segments is None else next(tensors)
        number = micro * world.size + world.rank
        if len(pixels):
            parts.append(Part(number, sum(sizes[:number]), sum(sizes), pixels, segments))
    return parts


class Draws:
    """The random numbers of a step: a stream for each micro-batch, that of the first the step's."""

    def __init__(self, seed: int, step: int, device: torch.device) -> None:
        self.seed, self.step, self.device = seed, step, device
        self.states: dict[int, list[Tensor]] = {}

    @contextmanager
    def first(self, number: int) -> Iterator[None]:
        """Draw from the beginning of a stream, also a second time; `further` goes on after it."""
        torch.manual_seed(shard_seed(self.seed, self.step, number))
        yield
        self.states.setdefault(number, self._state())

    @contextmanager
    def further(self, number: int) -> Iterator[None]:
        """Draw on from a stream, wherever it is."""
        if number in self.states:
            state, *on_gpu = self.states[number]
            torch.set_rng_state(state)
            for each in on_gpu:
                torch.cuda.set_rng_state(each, self.device)
        else:
            torch.manual_seed(shard_seed(self.seed, self.step, number))
        yield
        self.states[number] = self._state()

    def _state(self) -> list[Tensor]:
        on_gpu = self.device.type == "cuda" and torch.cuda.is_available()
        on_device = [torch.cuda.get_rng_state(self.device)] if on_gpu else []
        return [torch.get_rng_state(), *on_device]
