"""Training of the autoencoder (A.5)."""

from pathlib import Path

import torch

from nvg.files import write_atomic
from nvg.metrics.reconstruction import Reconstruction, reconstruction_metrics
from nvg.seeding import step_seed
from nvg.tokenizer.autoencoder import AUTOENCODER_FILE, load_autoencoder
from nvg.tokenizer.config import AutoencoderConfig
from nvg.tokenizer.image_batch import Images, TrainingImages
from nvg.training.autoencoder.config import AutoencoderTraining
from nvg.training.autoencoder.prefetch import Prefetch
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
    start = run.start_step()
    with Prefetch(images, training) as fetch:
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
        train_loop(run, training, start, batches, trainer, "autoencoder")
    model = trainer.ema_model()
    write_atomic(run.directory / AUTOENCODER_FILE, weights_bytes(model.state_dict(), model_config))
    if heldout is None or not len(heldout):
        return None
    return reconstruction_metrics(model, heldout)
