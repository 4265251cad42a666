"""The autoencoder in training: its losses, its adversary, average weights, dead codewords (A.5)."""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from enum import StrEnum
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save
from torch import Tensor

from nvg.adversary import Adversary, AdversaryConfig, Pace
from nvg.autoencoder import Autoencoder, from_pixels
from nvg.autoencoder_config import AutoencoderConfig
from nvg.checkpoint import (
    CheckpointError,
    load_optimizer,
    load_weights,
    optimizer_bytes,
    weights_bytes,
)
from nvg.codebook import CodebookInit, start_codebook
from nvg.config import require_share
from nvg.dead_codes import DeadCodes
from nvg.discriminator import Discriminator
from nvg.distributed import device
from nvg.errors import WorkError
from nvg.image_batch import ImageBatch
from nvg.losses import LossConfig, autoencoder_loss
from nvg.metrics import stage_hits, stage_usage
from nvg.optim import cosine, follow, set_lr
from nvg.perceptual import Perceptual
from nvg.training import LoopConfig, Metrics

MOST_NAMED = 8  # images of a batch that an error names


class Part(StrEnum):
    """Of an autoencoder."""

    ENCODER = "encoder"
    QUANTIZER = "quantizer"
    DECODER = "decoder"


@dataclass(frozen=True, kw_only=True)
class AutoencoderTraining(LoopConfig):
    """How to train; the defaults are the paper's (A.5), but for losses that need weights files."""

    steps: int = 500_000
    batch_size: int = 256
    lr: float = 1e-4
    warmup: int = 1000
    betas: tuple[float, ...] = (0.5, 0.9)
    weight_decay: float = 0.0
    clip: float = 10.0
    ema: float = 0.999
    """Decay of the average weights, which are what is left and measured; 0 for the last weights."""
    codebook_init: CodebookInit = CodebookInit.SAMPLE
    frozen: tuple[Part, ...] = ()
    """Parts that keep their weights, for fine-tuning the others."""
    index_steps: int = 0
    """First steps in which gradients reach all codewords (IBQ); the paper: one epoch."""
    revive_after: int = 0
    """Steps without being chosen after which a codeword is moved to a residual; 0 for never."""
    sample_every: int = 0
    """Steps between two looks at held-out images, 0 for none."""
    loss: LossConfig = field(default_factory=LossConfig)
    adversary: AdversaryConfig = field(default_factory=AdversaryConfig)

    def __post_init__(self) -> None:
        super().__post_init__()
        require_share(self, "ema")
        if set(self.frozen) == set(Part):
            raise ValueError("frozen names every part: nothing is left to train")
        for name in ("index_steps", "revive_after", "sample_every"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} must not be negative, not {getattr(self, name)}")
        if self.sample_every % self.checkpoint_every:
            raise ValueError(
                f"sample_every {self.sample_every} must be a multiple of checkpoint_every "
                f"{self.checkpoint_every}"
            )


class AutoencoderLearner:
    """The autoencoder with its optimiser, and all that judges it."""

    def __init__(self, config: AutoencoderConfig, training: AutoencoderTraining) -> None:
        self.training, self.device = training, device()
        self.model = Autoencoder(config).to(self.device)
        for part in training.frozen:
            getattr(self.model, part.value).requires_grad_(False)
        self.optimizer = training.optimizer(self.model)
        self.average = {k: v.detach().clone() for k, v in self.model.state_dict().items()}
        self.dead = DeadCodes(config.codebook_size, training.revive_after, self.device)
        self.perceptual = None
        if training.loss.perceptual:
            measure = Perceptual(training.loss.vgg, config.image_size)
            self.perceptual = measure.to(self.device)
        self.adversary = None
        if training.adversary.kind is not Discriminator.NONE:
            pace = Pace(
                steps=training.steps,
                lr=training.lr,
                betas=(training.betas[0], training.betas[1]),
                weight_decay=training.weight_decay,
                clip=training.clip,
            )
            self.adversary = Adversary(training.adversary, pace, self.device)

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
            pool.append(quantizer.residuals(latents, leaves))
            count += len(pool[-1])
            if count >= init.wants(size):
                break
        generator = torch.default_generator
        quantizer.codebook.copy_(start_codebook(torch.cat(pool), size, init, generator))
        self.average["quantizer.codebook"].copy_(quantizer.codebook)
        hits_SV = stage_hits(quantizer.encode(latents, leaves), quantizer.layout, size)
        return [round(share, 4) for share in stage_usage(hits_SV).tolist()]

    def adopt(self, model: Autoencoder) -> None:
        """Start from the weights of another autoencoder; CheckpointError where it is not alike."""
        own, found = self.model.config, model.config
        if replace(found, builder=own.builder, dropout=own.dropout) != own:
            raise CheckpointError(
                "the weights to start from are of another [autoencoder.model] than the recipe's"
            )
        self.model.load_state_dict(model.state_dict())
        self.average = {k: v.detach().clone() for k, v in self.model.state_dict().items()}

    def step(self, number: int, batch: ImageBatch) -> Metrics:
        """One optimiser step on a batch; the adversary's comes first."""
        training, model = self.training, self.model
        pixels, segments = batch.tensors(self.device)
        images = from_pixels(pixels)
        set_lr(self.optimizer, training.lr * cosine(number, training.steps, training.warmup))
        with self._autocast():
            try:
                rebuilt, quantized = model(
                    images, segments, number < training.index_steps, training.loss.entropy > 0
                )
            except ValueError as error:  # structure is built of numbers only
                raise WorkError(
                    f"step {number + 1}: {error}, at images {self.rows(batch)}; the newest "
                    "checkpoint is from before: lower the learning rate"
                ) from error
            rebuilt = rebuilt.float()
            judged: Metrics = {}
            if self.adversary:
                judged = self.adversary.learn(number, images, rebuilt)
            loss, visible, terms = autoencoder_loss(
                training.loss, images, rebuilt, quantized, self.perceptual
            )
            if self.adversary:
                share, judged["adversary"] = self._adversarial(number, rebuilt, visible)
                loss, judged["balance"] = loss + share * judged["adversary"], share
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(model.parameters(), training.clip)
        self.optimizer.step()
        revived = self.dead.revive(quantized, model.quantizer.codebook, self.optimizer)
        follow(self.average, model.state_dict(), number, training.ema)
        return {"loss": loss, **terms, **judged, "norm": norm, "revived": revived}

    def averaged(self) -> Autoencoder:
        """A model of the average weights, in eval mode."""
        model = Autoencoder(self.model.config).to(self.device)
        model.load_state_dict(self.average)
        return model.eval()

    def state(self) -> tuple[dict[str, bytes], dict[str, Any]]:
        """Weights, their average, optimiser state, idle codewords; the adversary's, if any."""
        config = self.model.config
        files = {
            "model.safetensors": weights_bytes(self.model.state_dict(), config),
            "average.safetensors": weights_bytes(self.average, config),
            "optimizer.safetensors": optimizer_bytes(self.optimizer),
            "idle.safetensors": save({"idle": self.dead.idle.cpu()}),
        }
        return files | (self.adversary.files() if self.adversary else {}), {}

    def rows(self, batch: ImageBatch) -> str:
        """Keys of the images, where they are known."""
        return ", ".join(batch.keys[:MOST_NAMED]) or "unknown"

    def restore(self, checkpoint: Path) -> None:
        """Take back what `files` gave."""
        load_weights(self.model, checkpoint / "average.safetensors")
        self.average = {k: v.detach().clone() for k, v in self.model.state_dict().items()}
        load_weights(self.model, checkpoint / "model.safetensors")
        load_optimizer(self.optimizer, checkpoint / "optimizer.safetensors")
        self.dead.idle.copy_(load_file(checkpoint / "idle.safetensors")["idle"])
        if self.adversary:
            self.adversary.restore(checkpoint)

    def _autocast(self) -> torch.autocast:
        """bfloat16 on a GPU; the quantiser stays in float32 by itself."""
        return torch.autocast(self.device.type, torch.bfloat16, self.device.type == "cuda")

    def _adversarial(self, number: int, rebuilt: Tensor, visible: Tensor) -> tuple[Tensor, Tensor]:
        """What the adversarial term weighs at this step, and the term."""
        assert self.adversary is not None
        term = self.adversary.term(number, rebuilt)
        last = next(self.model.decoder.layers[-1].parameters())
        balance = self.adversary.balance(visible, term, last)
        return self.adversary.weight(number) * balance, term
