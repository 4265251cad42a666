"""Training of the autoencoder (A.5)."""

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import torch

from nvg.choices import TrainingCrop
from nvg.files import write_atomic
from nvg.metrics.reconstruction import Reconstruction, reconstruction_metrics
from nvg.seeding import step_rows, step_seed
from nvg.tokenizer.autoencoder import AUTOENCODER_FILE, load_autoencoder
from nvg.tokenizer.config import AutoencoderConfig
from nvg.tokenizer.image_batch import ImageBatch, Images, RandomCrop, TrainingImages
from nvg.training.autoencoder.config import AutoencoderTraining
from nvg.training.autoencoder.trainer import AutoencoderTrainer
from nvg.training.autoencoder.validation import Validation
from nvg.training.loop import train_loop
from nvg.training.run_dir import Run
from nvg.weights import weights_bytes


def train_autoencoder(
    model_config: AutoencoderConfig,
    training: AutoencoderTraining,
    images: TrainingImages,
    heldout: Images | None,
    run: Run,
    start_from: Path | None = None,
) -> Reconstruction | None:
    """Train to the end, or on from the newest checkpoint; saves `autoencoder.safetensors`.

    A new run starts from fresh weights, or from those of the run or file `start_from`. Returns the
    measures of the held-out images, None where there are none.
    """
    torch.manual_seed(step_seed(training.seed, -1))
    validation = Validation(heldout if heldout else images, run)
    trainer = AutoencoderTrainer(model_config, training, validation)
    fetch = _Prefetch(images, training)
    start = run.start_step()
    if start:
        trainer.restore(run.checkpoints.path(start))
    elif start_from:
        trainer.adopt(load_autoencoder(start_from))
    else:
        usage = trainer.initialize(fetch.batches())
        run.log(step=0, codebook_init=training.codebook_init.value, stage_usage=usage)
    batches = map(fetch, range(start, training.steps))
    train_loop(run, training, start, batches, trainer, "autoencoder")
    model = trainer.ema_model()
    write_atomic(run.directory / AUTOENCODER_FILE, weights_bytes(model.state_dict(), model_config))
    if heldout is None or not len(heldout):
        return None
    return reconstruction_metrics(model, heldout)


class _Prefetch:
    """Decodes the next step's images in a thread while the current step computes."""

    def __init__(self, images: TrainingImages, training: AutoencoderTraining) -> None:
        self.images, self.training = images, training
        self.pool = ThreadPoolExecutor(1)
        self.ahead: dict[int, Future[ImageBatch]] = {}

    def __call__(self, step: int) -> ImageBatch:
        future = self.ahead.pop(step, None) or self.pool.submit(self._read, step)
        if step + 1 < self.training.steps:
            self.ahead[step + 1] = self.pool.submit(self._read, step + 1)
        return future.result()

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
