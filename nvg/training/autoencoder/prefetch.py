"""Batches of images read ahead of the training of the autoencoder."""

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np

from nvg.choices import TrainingCrop
from nvg.distributed import World
from nvg.seeding import Rows, step_rows, step_seed
from nvg.tokenizer.image_batch import ImageBatch, RandomCrop, TrainingImages
from nvg.training.autoencoder.config import AutoencoderTraining
from nvg.training.autoencoder.parts import rows_of

AHEAD = 4  # batches; more would make up for longer pauses only, not for slow reading


class Prefetch:
    """Reads this process's images of the next steps in a thread while the current step computes.

    One batch after another: the images themselves decide how many threads decode one.
    """

    def __init__(self, images: TrainingImages, training: AutoencoderTraining, world: World) -> None:
        self.images, self.training, self.world = images, training, world
        self.pool = ThreadPoolExecutor(1)
        self.ahead: dict[int, Future[list[ImageBatch]]] = {}

    def __enter__(self) -> "Prefetch":
        return self

    def __exit__(self, *_: object) -> None:
        """Drop what is read ahead; at most the batch that is being read is waited for."""
        self.pool.shutdown(cancel_futures=True)

    def __call__(self, step: int) -> list[ImageBatch]:
        """The micro-batches of a step, some perhaps empty; an error in reading is raised here."""
        for number in range(step, min(step + AHEAD + 1, self.training.steps)):
            if number not in self.ahead:
                self.ahead[number] = self.pool.submit(self._read, number)
        return self.ahead.pop(step).result()

    def batches(self) -> Iterator[ImageBatch]:
        """The whole batches of the first epoch, which initialize the codebook."""
        for step in range(-(-len(self.images) // self.training.batch_size)):
            yield self._batch(step, self._rows(step))

    def _read(self, step: int) -> list[ImageBatch]:
        """Read at once, since two of one step may lie in one part of a file."""
        shares = rows_of(self._rows(step), self.world, self.training.accumulate)
        batch = self._batch(step, np.concatenate(shares))
        return batch.split([len(rows) for rows in shares])

    def _rows(self, step: int) -> Rows:
        training = self.training
        return step_rows(len(self.images), training.batch_size, training.seed, step)

    def _batch(self, step: int, rows: Rows) -> ImageBatch:
        """Images of a step; how they are cut follows from seed and step."""
        training, crop = self.training, None
        if training.crop is TrainingCrop.RANDOM:
            crop = RandomCrop(step_seed(training.seed, step), training.crop_resize)
        return self.images.batch(rows, crop)
