"""One generator in training: its objective over all processes, optimiser, average weights."""

from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from nvg.distributed import World, like, replicate, shard, whole
from nvg.generator.config import GeneratorKind, GeneratorShape
from nvg.generator.generator import TrainingExample
from nvg.training.checkpoint import load_optimizer, optimizer_bytes
from nvg.training.generator.config import REFERENCE_BATCH, GeneratorTraining
from nvg.training.generator.objective import Objective
from nvg.training.generator.repa import Aligner
from nvg.training.optim import ema_update, set_lr, wsd
from nvg.weights import load_weights, weights_bytes


class GeneratorState:
    """One generator with its optimiser, in step with the other processes."""

    def __init__(
        self,
        part: GeneratorKind,
        shape: GeneratorShape,
        training: GeneratorTraining,
        world: World,
        aligner: Aligner | None = None,
    ) -> None:
        self.part, self.shape, self.training, self.world = part, shape, training, world
        self.model = shape.build(part).to(world.device)
        self.aligner = aligner.to(world.device) if aligner else None
        self.average = {k: v.detach().clone() for k, v in self.model.state_dict().items()}
        self.peak_lr = training.lr * training.batch_size / REFERENCE_BATCH
        self.terms: dict[str, Tensor] = {}

    def start(self, checkpoint: Path | None) -> None:
        """Take back what `files` gave, if there is a checkpoint, and get ready for steps."""
        if checkpoint:
            load_weights(self.model, checkpoint / f"{self.part.value}.safetensors")
            self._load_average(checkpoint / f"{self.part.value}-ema.safetensors")
            if self.aligner:
                load_weights(self.aligner, checkpoint / f"{self.part.value}-aligner.safetensors")
        training = self.training
        objective: nn.Module = Objective(
            self.model, self.aligner, training.align, training.align_block
        )
        if self.training.sharded:
            blocks = list(self.model.backbone.blocks)
            objective = shard(objective, blocks, self.world)
            parted = self.model.state_dict()
            self.average = {name: like(v, parted[name]) for name, v in self.average.items()}
        self.optimizer = training.optimizer(objective)
        if checkpoint:
            load_optimizer(self.optimizer, checkpoint / f"{self.part.value}-optimizer.safetensors")
        if self.world.device.type == "cuda":
            self.model.backbone.compile()
        self.objective = objective if self.training.sharded else replicate(objective, self.world)

    def accumulate(self, drawn: TrainingExample, is_last: bool) -> None:
        """Add the gradient of one micro-batch; the last one meets those of the other processes."""
        share = self.training.accumulate
        with nullcontext() if is_last else self._apart():
            terms = self.objective(drawn)
            (torch.stack(list(terms.values())).sum() / share).backward()
        for name, value in terms.items():
            self.terms[name] = self.terms.get(name, 0.0) + value.detach() / share

    def update(self, step: int) -> dict[str, Tensor]:
        """One optimiser step; the mean terms, and the gradient norm before clipping."""
        training, terms = self.training, self.terms
        factor = wsd(step, training.steps, training.warmup, training.decay_start)
        set_lr(self.optimizer, self.peak_lr * factor)
        norm = nn.utils.clip_grad_norm_(self.objective.parameters(), training.clip)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        ema_update(self.average, self.model.state_dict(), step, training.ema)
        self.terms = {}
        return {**terms, f"{self.part.value}_norm": whole(norm)}

    def files(self) -> dict[str, bytes]:
        """Weights, their average, optimiser state, and the projector of alignment."""
        name = self.part.value
        files = {
            f"{name}.safetensors": weights_bytes(self.model.state_dict(), self.shape),
            f"{name}-ema.safetensors": weights_bytes(self.average, self.shape),
            f"{name}-optimizer.safetensors": optimizer_bytes(self.optimizer),
        }
        if self.aligner:
            projector = weights_bytes(self.aligner.state_dict(), self.aligner.codec.shape)
            files[f"{name}-aligner.safetensors"] = projector
        return files

    def _apart(self) -> Any:
        """Where gradients stay in this process."""
        if self.training.sharded and self.world.size > 1:
            return nullcontext()  # FSDP2 adds up reduced gradients: correct, if not the cheapest
        no_sync = getattr(self.objective, "no_sync", nullcontext)
        return no_sync()

    def _load_average(self, path: Path) -> None:
        holder = self.shape.build(self.part)
        load_weights(holder, path)
        self.average = {k: v.to(self.world.device) for k, v in holder.state_dict().items()}
