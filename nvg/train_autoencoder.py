"""Training of the autoencoder (A.5)."""

from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from nvg.autoencoder import Autoencoder, AutoencoderConfig, from_pixels
from nvg.checkpoint import (
    CheckpointError,
    load_optimizer,
    load_weights,
    optimizer_bytes,
    read_config,
    weights_bytes,
)
from nvg.codebook import CodebookInit, stage_residuals, start_codebook
from nvg.distributed import device
from nvg.files import write_atomic
from nvg.image_batch import ImageBatch, Images
from nvg.losses import LossConfig, autoencoder_loss
from nvg.metrics import Reconstruction, reconstruction_metrics, stage_hits, stage_usage
from nvg.optim import cosine, set_lr
from nvg.order import step_rows
from nvg.run import Run
from nvg.training import LoopConfig, Metrics, step_seed, train_loop

WEIGHTS = "autoencoder.safetensors"
MOST_NAMED = 8  # images of a batch that an error names


@dataclass(frozen=True, kw_only=True)
class AutoencoderTraining(LoopConfig):
    """How to train; the defaults are the paper's (A.5)."""

    steps: int = 500_000
    batch_size: int = 256
    lr: float = 1e-4
    warmup: int = 1000
    betas: tuple[float, ...] = (0.5, 0.9)
    weight_decay: float = 0.0
    clip: float = 10.0
    codebook_init: CodebookInit = CodebookInit.SAMPLE
    loss: LossConfig = field(default_factory=LossConfig)


def train_autoencoder(
    model_config: AutoencoderConfig,
    training: AutoencoderTraining,
    images: Images,
    heldout: Images | None,
    run: Run,
) -> Reconstruction | None:
    """Train to the end, or on from the newest checkpoint; leaves `autoencoder.safetensors`.

    Returns the held-out measures, None without held-out images.
    """
    torch.manual_seed(step_seed(training.seed, -1))
    learner = AutoencoderLearner(model_config, training)
    fetch = _Prefetch(images, training)
    start = run.start_step()
    if start:
        learner.restore(run.checkpoints.path(start))
    else:
        usage = learner.initialize(fetch.batches())
        run.log(step=0, codebook_init=training.codebook_init.value, stage_usage=usage)

    batches = map(fetch, range(start, training.steps))
    train_loop(run, training, start, batches, learner, "autoencoder")
    model = learner.model.eval()
    write_atomic(run.directory / WEIGHTS, weights_bytes(model.state_dict(), model_config))
    if heldout is None or not len(heldout):
        return None
    return reconstruction_metrics(model, heldout)


class AutoencoderLearner:
    """The autoencoder with its optimiser."""

    def __init__(self, config: AutoencoderConfig, training: AutoencoderTraining) -> None:
        self.training, self.device = training, device()
        self.model = Autoencoder(config).to(self.device)
        self.optimizer = training.optimizer(self.model)

    @torch.no_grad()
    def initialize(self, batches: Iterable[ImageBatch]) -> list[float]:
        """Start the codebook from residuals of real images under the fresh encoder.

        Returns the share of it that each stage then uses on the last batch, see `stage_usage`.
        """
        quantizer, init = self.model.quantizer, self.training.codebook_init
        size, pool, count = self.model.config.codebook_size, [], 0
        for batch in batches:
            pixels, segments = batch.tensors(self.device)
            latents = self.model.encoder(from_pixels(pixels))
            leaves = self.model.leaves(latents, segments)
            pool.append(stage_residuals(latents, leaves))
            count += len(pool[-1])
            if count >= init.wants(size):
                break
        generator = torch.default_generator
        quantizer.codebook.copy_(start_codebook(torch.cat(pool), size, init, generator))
        hits_SV = stage_hits(quantizer.encode(latents, leaves), quantizer.geometry, size)
        return [round(share, 4) for share in stage_usage(hits_SV).tolist()]

    def step(self, number: int, batch: ImageBatch) -> Metrics:
        """One optimiser step on a batch."""
        training = self.training
        pixels, segments = batch.tensors(self.device)
        images = from_pixels(pixels)
        set_lr(self.optimizer, training.lr * cosine(number, training.steps, training.warmup))
        reconstruction, quantized = self.model(images, segments)
        loss, terms = autoencoder_loss(training.loss, images, reconstruction, quantized)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(self.model.parameters(), training.clip)
        self.optimizer.step()
        return {"loss": loss, **terms, "norm": norm}

    def state(self) -> tuple[dict[str, bytes], dict[str, Any]]:
        """Weights and optimiser state."""
        files = {
            "model.safetensors": weights_bytes(self.model.state_dict(), self.model.config),
            "optimizer.safetensors": optimizer_bytes(self.optimizer),
        }
        return files, {}

    def rows(self, batch: ImageBatch) -> str:
        """Keys of the images, where they are known."""
        return ", ".join(batch.keys[:MOST_NAMED]) or "unknown"

    def checkpointed(self, number: int) -> None:
        """Nothing more is done."""

    def restore(self, checkpoint: Path) -> None:
        """Take back what `files` gave."""
        load_weights(self.model, checkpoint / "model.safetensors")
        load_optimizer(self.optimizer, checkpoint / "optimizer.safetensors")


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
