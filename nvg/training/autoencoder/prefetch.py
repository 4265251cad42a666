"""Batches of images read ahead of the training of the autoencoder."""

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor

from nvg.choices import TrainingCrop
from nvg.seeding import step_rows, step_seed
from nvg.tokenizer.image_batch import ImageBatch, RandomCrop, TrainingImages
from nvg.training.autoencoder.config import AutoencoderTraining

AHEAD = 4  # batches; more would make up for longer pauses only, not for slow reading


class Prefetch:
    """Reads the next steps' images in a thread while the current step computes.

    One batch after another: the images themselves decide how many threads decode one.
    """

    def __init__(self, images: TrainingImages, training: AutoencoderTraining) -> None:
        self.images, self.training = images, training
        self.pool = ThreadPoolExecutor(1)
        self.ahead: dict[int, Future[ImageBatch]] = {}

    def __enter__(self) -> "Prefetch":
        return self

    def __exit__(self, *_: object) -> None:
        """Drop what is read ahead; at most the batch that is being read is waited for."""
        self.pool.shutdown(cancel_futures=True)

    def __call__(self, step: int) -> ImageBatch:
        """The images of a step; an error in reading them is raised here."""
        for number in range(step, min(step + AHEAD + 1, self.training.steps)):
            if number not in self.ahead:
                self.ahead[number] = self.pool.submit(self._read, number)
        return self.ahead.pop(step).result()

    def batches(self) -> Iterator[ImageBatch]:
        """The batches of the first epoch, which initialize the codebook."""
        yield from map(self._read, range(-(-len(self.images) // self.training.batch_size)))

    def _read(self, step: int) -> ImageBatch:
        """The images of a step; which they are and how they are cut follows from seed and step."""
        training = self.training
        rows = step_rows(len(self.images), training.batch_size, training.seed, step)
        crop = None
        if training.crop is TrainingCrop.RANDOM:
            crop = RandomCrop(step_seed(training.seed, step), training.crop_resize)
        return self.images.batch(rows, crop)
