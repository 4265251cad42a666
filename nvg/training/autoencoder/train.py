"""Training of the autoencoder (A.5)."""

from pathlib import Path

import torch

from nvg.distributed import World, default_device
from nvg.files import write_atomic
from nvg.metrics.reconstruction import Reconstruction, shared_metrics
from nvg.seeding import step_seed
from nvg.tokenizer.autoencoder import AUTOENCODER_FILE, load_autoencoder
from nvg.tokenizer.config import AutoencoderConfig
from nvg.tokenizer.image_batch import Images, TrainingImages
from nvg.training.autoencoder.config import AutoencoderTraining
from nvg.training.autoencoder.prefetch import Prefetch
from nvg.training.autoencoder.trainer import AutoencoderTrainer
from nvg.training.autoencoder.validation import Validation
from nvg.training.loop import train_loop
from nvg.training.run_dir import Run, RunError
from nvg.weights import weights_bytes


def train_autoencoder(
    model_config: AutoencoderConfig,
    training: AutoencoderTraining,
    images: TrainingImages,
    heldout: Images | None,
    run: Run,
    start_from: Path | None = None,
    world: World | None = None,
) -> Reconstruction | None:
    """Train to the end, or on from the newest checkpoint; saves `autoencoder.safetensors`.

    A new run starts from fresh weights, or from those of the run or file `start_from`. Returns the
    measures of the held-out images, None where there are none, and in all but the main process.
    With several processes each takes its share of every batch.
    """
    world = world or World(0, 1, default_device())
    _require_enough(min(training.batch_size, len(images)), world)
    torch.manual_seed(step_seed(training.seed, -1))
    validation = Validation(heldout if heldout else images, run, world)
    trainer = AutoencoderTrainer(model_config, training, validation, world)
    start = run.start_step()
    with Prefetch(images, training, world) as fetch:
        if start:
            trainer.restore(run.checkpoints.path(start))
        elif start_from:
            trainer.adopt(load_autoencoder(start_from))
        else:
            usage = trainer.initialize(fetch.batches())
        run.begin(start)
        if not (start or start_from):
            run.log(step=0, codebook_init=training.codebook_init.value, stage_usage=usage)
        batches = map(fetch, range(start, training.steps))
        train_loop(run, training, start, batches, trainer, "autoencoder", world)
    model = trainer.ema_model()
    if world.is_main:
        weights = weights_bytes(model.state_dict(), model_config)
        write_atomic(run.directory / AUTOENCODER_FILE, weights)
    if heldout is None or not len(heldout):
        return None
    return shared_metrics(model, heldout, world)


def _require_enough(images: int, world: World) -> None:
    """RunError where a step has no image for some process."""
    if images < world.size:
        raise RunError(
            f"a step has {images} images for {world.size} processes: start at most {images}"
        )
