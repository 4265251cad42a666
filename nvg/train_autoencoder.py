"""Training of the autoencoder (A.5)."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from nvg.autoencoder import Autoencoder, AutoencoderConfig, from_pixels
from nvg.checkpoint import (
    CheckpointError,
    load_optimizer,
    load_weights,
    optimizer_bytes,
    read_config,
    weights_bytes,
)
from nvg.files import write_atomic
from nvg.losses import LossConfig, autoencoder_loss
from nvg.metrics import Reconstruction, reconstruction_metrics
from nvg.optim import cosine, set_lr
from nvg.order import step_rows
from nvg.structure import build_leaves
from nvg.training import LoopConfig, Metrics, Run, device, step_seed, train_loop

WEIGHTS = "autoencoder.safetensors"


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
    loss: LossConfig = field(default_factory=LossConfig)


class Images(Protocol):
    """Random access to pixels; unreadable images are left out of a batch."""

    def __len__(self) -> int: ...

    def pixels(self, rows: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        """uint8 [B, 3, D, D] of the readable ones among `rows`."""


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
        learner.initialize(torch.from_numpy(fetch.first()))

    def step(number: int) -> Metrics:
        return learner.update(torch.from_numpy(fetch(number)), number)

    train_loop(run, training, start, step, lambda: (learner.files(), {}), "autoencoder")
    model = learner.model.eval()
    write_atomic(run.directory / WEIGHTS, weights_bytes(model.state_dict(), model_config))
    if heldout is None or not len(heldout):
        return None
    return reconstruction_metrics(model, heldout.pixels, len(heldout))


class AutoencoderLearner:
    """The autoencoder with its optimiser."""

    def __init__(self, config: AutoencoderConfig, training: AutoencoderTraining) -> None:
        self.training, self.device = training, device()
        self.model = Autoencoder(config).to(self.device)
        self.optimizer = training.optimizer(self.model)

    @torch.no_grad()
    def initialize(self, pixels: Tensor) -> None:
        """Start the codebook from residuals of real images under the fresh encoder."""
        latents = self.model.encoder(from_pixels(pixels.to(self.device)))
        leaves = build_leaves(latents, self.model.config.builder)
        self.model.quantizer.initialize_codebook(latents, leaves, torch.default_generator)

    def update(self, pixels: Tensor, step: int) -> Metrics:
        """One optimiser step on pixels uint8 [B, 3, D, D]."""
        training, images = self.training, from_pixels(pixels.to(self.device))
        set_lr(self.optimizer, training.lr * cosine(step, training.steps, training.warmup))
        reconstruction, quantized = self.model(images)
        loss, terms = autoencoder_loss(training.loss, images, reconstruction, quantized)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(self.model.parameters(), training.clip)
        self.optimizer.step()
        return {"loss": loss, **terms, "norm": norm}

    def files(self) -> dict[str, bytes]:
        """Weights and optimiser state."""
        return {
            "model.safetensors": weights_bytes(self.model.state_dict(), self.model.config),
            "optimizer.safetensors": optimizer_bytes(self.optimizer),
        }

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
        self.ahead: dict[int, Any] = {}

    def __call__(self, step: int) -> np.ndarray[Any, Any]:
        future = self.ahead.pop(step, None) or self.pool.submit(self._read, step)
        if step + 1 < self.training.steps:
            self.ahead[step + 1] = self.pool.submit(self._read, step + 1)
        pixels: np.ndarray[Any, Any] = future.result()
        return pixels

    def first(self) -> np.ndarray[Any, Any]:
        """The pixels of step 0, which initialise the codebook."""
        return self._read(0)

    def _read(self, step: int) -> np.ndarray[Any, Any]:
        rows = step_rows(len(self.images), self.training.batch_size, self.training.seed, step)
        return self.images.pixels(rows)
