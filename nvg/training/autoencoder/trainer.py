"""The autoencoder in training: losses, discriminator, EMA weights, dead codes (A.5)."""

from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save
from torch import Tensor, nn

from nvg import precision
from nvg.distributed import World, default_device
from nvg.errors import WorkError
from nvg.quantizer.codebook import DeadCodes, start_codebook
from nvg.quantizer.residual import Quantized
from nvg.quantizer.usage import stage_hits, stage_usage
from nvg.tokenizer.autoencoder import Autoencoder, from_pixels
from nvg.tokenizer.config import AutoencoderConfig
from nvg.tokenizer.encoder_decoder import ResidualBlock
from nvg.tokenizer.image_batch import ImageBatch
from nvg.training.autoencoder.adversarial import DiscriminatorTrainer, Schedule
from nvg.training.autoencoder.buffers import MeanBuffers
from nvg.training.autoencoder.config import AutoencoderTraining, DiscriminatorKind
from nvg.training.autoencoder.losses import add_terms, autoencoder_loss, perceptual_of
from nvg.training.autoencoder.parts import Draws, Part, parts_of
from nvg.training.autoencoder.validation import Validation
from nvg.training.checkpoint import file_of, load_optimizer, optimizer_bytes
from nvg.training.late_metrics import Metrics
from nvg.training.loop import Task
from nvg.training.optim import cosine, ema_update, gradients, optimizer_of, set_lr
from nvg.training.recompute import recompute_segments
from nvg.weights import CheckpointError, load_weights, read_tensors, weights_bytes

MOST_NAMED = 8  # images of a batch that an error names


class AutoencoderTrainer(Task[list[ImageBatch]]):
    """The autoencoder with its optimizer and losses; what `train_loop` drives.

    All processes hold the same weights, and each computes its micro-batches of a step. Gradients
    are summed at the end of a step, of discriminator and autoencoder.
    """

    def __init__(
        self,
        config: AutoencoderConfig,
        training: AutoencoderTraining,
        validation: Validation | None = None,
        world: World | None = None,
    ) -> None:
        self.training, self.validation = training, validation
        self.world = world or World(0, 1, default_device())
        self.device = self.world.device
        self.model = Autoencoder(config).to(self.device)
        for part in training.frozen:
            getattr(self.model, part.value).requires_grad_(False)
        if training.checkpoint_activations:
            for network in (self.model.encoder, self.model.decoder):
                recompute_segments(network.layers, ResidualBlock)
        self.optimizer = optimizer_of(self.model, training)
        self.ema = {k: v.detach().clone() for k, v in self.model.state_dict().items()}
        self.dead = DeadCodes(config.codebook_size, training.dead_code_after, self.device)
        self.perceptual = perceptual_of(training.loss, config.image_size, self.device)
        self.discriminator = None
        if training.discriminator.kind is not DiscriminatorKind.NONE:
            schedule = Schedule(
                steps=training.steps,
                lr=training.lr,
                betas=(training.betas[0], training.betas[1]),
                weight_decay=training.weight_decay,
                clip=training.clip,
                cosine_every=training.cosine_every,
            )
            self.discriminator = DiscriminatorTrainer(training.discriminator, schedule, self.world)

    @torch.no_grad()
    def initialize(self, batches: Iterable[ImageBatch]) -> list[float]:
        """Start the codebook from residuals of real images under the fresh encoder.

        Returns the fraction that each stage then uses on the last batch, see `stage_usage`. The
        main process does it, and every other one gets its weights. Collective.
        """
        usage = self._start_codebook(batches) if self.world.is_main else []
        self.world.spread(self.model.state_dict().values())
        self.ema = {k: v.detach().clone() for k, v in self.model.state_dict().items()}
        return usage

    def _start_codebook(self, batches: Iterable[ImageBatch]) -> list[float]:
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
        content = quantizer.encode(latents, leaves).cpu().numpy()
        hits_SV = stage_hits(content, quantizer.layout, size)
        return [round(fraction, 4) for fraction in stage_usage(hits_SV).tolist()]

    def adopt(self, model: Autoencoder) -> None:
        """Start from another autoencoder's weights; CheckpointError where its shape differs."""
        own, found = self.model.config, model.config
        free = {name: getattr(own, name) for name in ("builder", "space_weight", "dropout")}
        if replace(found, **free) != own:
            raise CheckpointError(
                "the weights to start from are of another [autoencoder.model] than the recipe's"
            )
        self.model.load_state_dict(model.state_dict())
        self.ema = {k: v.detach().clone() for k, v in self.model.state_dict().items()}

    def step(self, number: int, batch: list[ImageBatch]) -> Metrics:
        """One optimizer step, micro-batch by micro-batch; the discriminator's comes first.

        The metrics are those of all processes. Collective.
        """
        training, model = self.training, self.model
        factor = cosine(number, training.steps, training.warmup, training.cosine_every)
        set_lr(self.optimizer, training.lr * factor)
        parts, draws = parts_of(batch, self.world), Draws(training.seed, number, self.device)
        with self._naming_images(number, batch):
            only = self._rebuild(number, parts[0], draws) if len(parts) == 1 else None
            adversarial = self._discriminator_step(number, parts, draws, only)
            self.optimizer.zero_grad(set_to_none=True)
            means: Metrics = {}
            made = []
            buffers = self._moved_buffers(number)
            for part in parts:
                rebuilt, quantized = only or self._rebuild(number, part, draws)
                with draws.further(part.number), buffers.part(part.share):
                    terms = self._losses(number, part, rebuilt, quantized)
                    (part.share * terms["loss"]).backward()
                add_terms(means, terms, part.share)
                made.append(quantized)
        self.world.sum([*gradients(model), *means.values(), *buffers.sums])
        buffers.settle()
        norm = nn.utils.clip_grad_norm_(model.parameters(), training.clip)
        self.optimizer.step()
        with draws.further(0):
            revived = self._revive(parts, made)
        ema_update(self.ema, model.state_dict(), number, training.ema, training.ema_warmup)
        return {**means, **adversarial, "norm": norm, "revived": revived}

    def _revive(self, parts: list[Part], made: list[Quantized]) -> Tensor:
        """Count used codes and move dead ones; how many were moved."""
        used = torch.cat([quantized.content.flatten() for quantized in made])
        tokens = len(made[0].means) // len(parts[0].pixels)  # of an image
        runs = [(p.before * tokens, q.means) for p, q in zip(parts, made, strict=True)]
        codebook = self.model.quantizer.codebook
        count = parts[0].of * tokens
        return self.dead.revive(used, runs, count, codebook, self.optimizer, self.world)

    def ema_model(self) -> Autoencoder:
        """A model of the EMA weights, in eval mode."""
        model = Autoencoder(self.model.config).to(self.device)
        model.load_state_dict(self.ema)
        return model.eval()

    def state(self) -> tuple[dict[str, bytes], dict[str, Any]]:
        """Weights, EMA weights, optimizer state, dead codes; the discriminator's, if any.

        The main process has them, which writes them.
        """
        if not self.world.is_main:
            return {}, {}
        config = self.model.config
        files = {
            "model.safetensors": weights_bytes(self.model.state_dict(), config),
            "model-ema.safetensors": weights_bytes(self.ema, config),
            "optimizer.safetensors": optimizer_bytes(self.optimizer),
            "dead_codes.safetensors": save({"idle": self.dead.unused_steps.cpu()}),
        }
        return files | (self.discriminator.files() if self.discriminator else {}), {}

    def rows(self, batch: list[ImageBatch]) -> str:
        """Keys of the images, where they are known."""
        keys = [key for micro in batch for key in micro.keys]
        return ", ".join(keys[:MOST_NAMED]) or "unknown"

    def checkpointed(self, number: int) -> None:
        """Validate the EMA weights where it is due. Collective."""
        every = self.training.sample_every
        if self.validation and every and number % every == 0:
            self.validation.look(self.ema_model(), number)

    def restore(self, checkpoint: Path) -> None:
        """Load what `state` saved."""
        load_weights(self.model, file_of(checkpoint, "model-ema.safetensors"))
        self.ema = {k: v.detach().clone() for k, v in self.model.state_dict().items()}
        load_weights(self.model, checkpoint / "model.safetensors")
        load_optimizer(self.optimizer, checkpoint / "optimizer.safetensors")
        file = file_of(checkpoint, "dead_codes.safetensors")
        unused, own = read_tensors(file).get("idle"), self.dead.unused_steps
        if unused is None or unused.shape != own.shape:
            raise CheckpointError(f"{file} is damaged: remove {checkpoint} and resume")
        own.copy_(unused)
        if self.discriminator:
            self.discriminator.restore(checkpoint)

    def _numbers(self) -> AbstractContextManager[Any]:
        """Those of training; the quantizer stays in float32 by itself."""
        return precision.numbers(precision.Part.AUTOENCODER, self.device)

    def _rebuild(self, number: int, part: Part, draws: Draws) -> tuple[Tensor, Quantized]:
        """Reconstructions [B, 3, D, D] of a part in float32, and its tokens; always the same."""
        training = self.training
        with draws.first(part.number), self._numbers():
            rebuilt, quantized = self.model(
                part.images, part.segments, number < training.ibq_steps, training.loss.entropy > 0
            )
            return rebuilt.float(), quantized

    def _discriminator_step(
        self,
        number: int,
        parts: list[Part],
        draws: Draws,
        only: tuple[Tensor, Quantized] | None,
    ) -> Metrics:
        """The discriminator's step on the reconstructions.

        Of several parts they are computed for it alone, since the autoencoder's loss of the first
        part needs the discriminator that has seen all.
        """
        if self.discriminator is None:
            return {}

        @torch.no_grad()
        def rebuilt(part: Part) -> Tensor:
            return (only or self._rebuild(number, part, draws))[0]

        def pairs() -> Iterator[tuple[float, Tensor, Tensor]]:
            for part in parts:
                fake = rebuilt(part)
                with draws.further(part.number):
                    yield part.share, part.images, fake

        with self._numbers():
            return self.discriminator.discriminator_step(number, pairs())

    def _moved_buffers(self, number: int) -> MeanBuffers:
        """What the discriminator's answers to the autoencoder move; nothing before it begins."""
        judge = self.discriminator
        return MeanBuffers(judge if judge and judge.has_begun(number) else nn.Module())

    def _losses(
        self, number: int, part: Part, rebuilt: Tensor, quantized: Quantized
    ) -> dict[str, Tensor]:
        """Every term by name; `loss` is what is minimized."""
        with self._numbers():
            loss, visible, terms = autoencoder_loss(
                self.training.loss, part.images, rebuilt, quantized, self.perceptual
            )
            if self.discriminator is None:
                return {"loss": loss, **terms}
            term = self.discriminator.generator_loss(number, rebuilt)
            last = next(self.model.decoder.layers[-1].parameters())
            adaptive = self.discriminator.adaptive_weight(visible, term, last)
            weight = self.discriminator.weight(number) * adaptive
            return {
                "loss": loss + weight * term,
                **terms,
                "g_loss": term,
                "adaptive_weight": weight,
            }

    @contextmanager
    def _naming_images(self, number: int, batch: list[ImageBatch]) -> Iterator[None]:
        """WorkError with step and images where latents are not finite: structure refuses those."""
        try:
            yield
        except ValueError as error:
            raise WorkError(
                f"step {number + 1}: {error}, at images {self.rows(batch)}; the newest "
                "checkpoint is from before: lower the learning rate"
            ) from error
