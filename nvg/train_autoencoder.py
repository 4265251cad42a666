"""Training of the autoencoder (A.5)."""

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import torch

from nvg.autoencoder import Autoencoder
from nvg.autoencoder_config import AutoencoderConfig
from nvg.autoencoder_learner import AutoencoderLearner, AutoencoderTraining
from nvg.checkpoint import CheckpointError, load_weights, read_config, weights_bytes
from nvg.files import write_atomic
from nvg.image_batch import ImageBatch, Images
from nvg.metrics import Reconstruction, reconstruction_metrics
from nvg.order import step_rows
from nvg.probe import Probe
from nvg.run import Run
from nvg.training import step_seed, train_loop

WEIGHTS = "autoencoder.safetensors"


def train_autoencoder(
    model_config: AutoencoderConfig,
    training: AutoencoderTraining,
    images: Images,
    heldout: Images | None,
    run: Run,
    start_from: Path | None = None,
) -> Reconstruction | None:
    """Train to the end, or on from the newest checkpoint; leaves `autoencoder.safetensors`.

    A new run starts from fresh weights, or from those of the run or file `start_from`. Returns the
    held-out measures, None without held-out images.
    """
    torch.manual_seed(step_seed(training.seed, -1))
    learner = AutoencoderLearner(model_config, training)
    fetch = _Prefetch(images, training)
    start = run.start_step()
    if start:
        learner.restore(run.checkpoints.path(start))
    elif start_from:
        learner.adopt(load_autoencoder(start_from))
    else:
        usage = learner.initialize(fetch.batches())
        run.log(step=0, codebook_init=training.codebook_init.value, stage_usage=usage)

    task = _AutoencoderTask(learner, Probe(heldout if heldout else images, run))
    batches = map(fetch, range(start, training.steps))
    train_loop(run, training, start, batches, task, "autoencoder")
    model = learner.averaged()
    write_atomic(run.directory / WEIGHTS, weights_bytes(model.state_dict(), model_config))
    if heldout is None or not len(heldout):
        return None
    return reconstruction_metrics(model, heldout)


def leave_autoencoder(model: Autoencoder, out: Path) -> None:
    """Write a model as a run directory; CheckpointError where one is already."""
    if (out / WEIGHTS).exists():
        raise CheckpointError(f"{out / WEIGHTS} exists: choose another --out")
    out.mkdir(parents=True, exist_ok=True)
    write_atomic(out / WEIGHTS, weights_bytes(model.state_dict(), model.config))


class _AutoencoderTask:
    """The learner as the loop drives it."""

    def __init__(self, learner: AutoencoderLearner, probe: Probe) -> None:
        self.learner, self.probe = learner, probe
        self.step, self.state, self.rows = learner.step, learner.state, learner.rows

    def checkpointed(self, number: int) -> None:
        """Look at the average weights where it is time to."""
        every = self.learner.training.sample_every
        if every and number % every == 0:
            self.probe.look(self.learner.averaged(), number)


def load_autoencoder(path: Path) -> Autoencoder:
    """The autoencoder of a run directory or a weights file, in eval mode, on the CPU."""
    file = path / WEIGHTS if path.is_dir() else path
    if path.is_dir() and not file.exists():
        raise CheckpointError(
            f"{path} holds no {WEIGHTS}: finish the run with "
            "`nvgctl train autoencoder ... --resume`, or name a weights file"
        )
    model = Autoencoder(read_config(AutoencoderConfig, file))
    load_weights(model, file)
    return model.eval()


class _Prefetch:
    """Decodes the next step's images in a thread while the current step computes."""

    def __init__(self, images: Images, training: AutoencoderTraining) -> None:
        self.images, self.training = images, training
        self.pool = ThreadPoolExecutor(1)
        self.ahead: dict[int, Future[ImageBatch]] = {}

    def __call__(self, step: int) -> ImageBatch:
        future = self.ahead.pop(step, None) or self.pool.submit(self._read, step)
        if step + 1 < self.training.steps:
            self.ahead[step + 1] = self.pool.submit(self._read, step + 1)
        return future.result()

    def batches(self) -> Iterator[ImageBatch]:
        """The batches of the first epoch, which initialise the codebook."""
        yield from map(self._read, range(-(-len(self.images) // self.training.batch_size)))

    def _read(self, step: int) -> ImageBatch:
        rows = step_rows(len(self.images), self.training.batch_size, self.training.seed, step)
        return self.images.batch(rows)
