"""Batches of images to tokens: one after another, or overlapped so that a GPU never waits.

Overlapped, two batches are under way. While the GPU encodes one, the host builds the leaves of the
batch before, and these become tokens on a stream beside the encoder's.

Legend: B image of a batch, N position, T token, S stage, P component of a stored feature, C
channel, D row or column of pixels or of the grid.
"""

import inspect
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from nvg.choices import EncoderPrecision
from nvg.host_copy import Beside, Fetch, sent
from nvg.structure.builders import find_builder
from nvg.tokenizer.autoencoder import Autoencoder
from nvg.tokenizer.image_batch import ImageBatch
from pipeline.tokenize.features import FeatureEncoder

# Leaves [B, N], content [B, T], stage error [B, S], and perhaps features [B, N, P]; on the CPU
Found = list[Tensor]


@dataclass
class Serial:
    """One batch after another, on the device of the model."""

    model: Autoencoder
    precision: EncoderPrecision
    features: FeatureEncoder | None = None

    def __post_init__(self) -> None:
        self.device = self.model.quantizer.codebook.device

    def __call__(self, batches: Iterable[ImageBatch]) -> Iterator[Found]:
        """What is found of each batch, in their order."""
        for batch in batches:
            images, segments = batch.tensors(self.device)
            found = self.model.tokenize(images, segments, self.precision)
            yield [part.cpu() for part in (*found, *self._codes(images))]

    def _codes(self, images: Tensor) -> list[Tensor]:
        """The features of images, where they are kept."""
        return [self.features(images)] if self.features else []


@dataclass(frozen=True)
class _Encoded:
    """A batch whose latents the device is computing."""

    latents: Tensor
    codes: list[Tensor]
    batch: ImageBatch
    ready: torch.cuda.Event | None


class Overlapped(Serial):
    """The pipeline of a GPU; on a CPU the same steps, one after another."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.beside = Beside(self.device)
        self.on_host: bool | None = None
        """Whether leaves are built on the host; not known before the first batch."""

    def __call__(self, batches: Iterable[ImageBatch]) -> Iterator[Found]:
        """What is found of each batch, in their order."""
        before = None
        for batch in batches:
            begun = self._begin(batch)
            if before is not None:
                yield self._end(before)
            before = begun
        if before is not None:
            yield self._end(before)

    def _begin(self, batch: ImageBatch) -> _Encoded:
        """Send images and queue the encoder; waits for nothing."""
        with self.beside.entered():
            (images,) = sent([torch.from_numpy(batch.pixels)], self.device)
        self.beside.give(images)
        latents = self.model.latents(images, self.precision)
        codes = self._codes(images)
        return _Encoded(latents, codes, batch, self.beside.mark())

    def _end(self, encoded: _Encoded) -> Found:
        """Leaves and tokens of a batch; waits for its latents, not for those of the next one."""
        with self.beside.entered():
            self.beside.take(encoded.ready, encoded.latents, *encoded.codes)
            leaves_BN = self._leaves(encoded)
            content, error = self.model.quantizer.measure(encoded.latents, leaves_BN)
            return Fetch([leaves_BN, content, error, *encoded.codes]).tensors()

    def _leaves(self, encoded: _Encoded) -> Tensor:
        """Leaves [B, N] on the device, wherever they are built."""
        latents_BNC, regions = encoded.latents, encoded.batch.segments
        if regions is not None:  # given, and nothing to choose
            return self.model.leaves(latents_BNC, *sent([torch.from_numpy(regions)], self.device))
        if self.on_host is None:
            self.on_host = self._is_host_quicker(latents_BNC)
        if not self.on_host:
            return self.model.leaves(latents_BNC)
        there = Fetch([latents_BNC]).tensors()[0]
        return sent([self.model.leaves(there)], self.device)[0]

    def _is_host_quicker(self, latents_BNC: Tensor) -> bool:
        """Measured once, after a run of each to warm up; False where the builder has one way only.

        Both give the same leaves.
        """
        if "backend" not in inspect.signature(find_builder(self.model.config.builder)).parameters:
            return False
        taken = []
        for values in (latents_BNC.cpu(), latents_BNC):
            self.model.leaves(values).cpu()
            began = time.perf_counter()
            self.model.leaves(values).cpu()
            taken.append(time.perf_counter() - began)
        return taken[0] <= taken[1]


def batch_encoder(
    model: Autoencoder, precision: EncoderPrecision, features: FeatureEncoder | None = None
) -> Serial:
    """What turns batches into tokens on the device of the model: overlapped on a GPU."""
    is_cuda = model.quantizer.codebook.device.type == "cuda"
    return (Overlapped if is_cuda else Serial)(model, precision, features)
