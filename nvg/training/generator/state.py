"""One generator in training: its objective over all processes, optimizer and EMA weights."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path

import torch
from torch import Tensor, nn

from nvg.distributed import World, full_tensor, reshard_like
from nvg.generator.build import build_generator
from nvg.generator.config import GeneratorKind, GeneratorShape
from nvg.generator.generator import Generator, TrainingExample
from nvg.training.checkpoint import load_optimizer, optimizer_tensors
from nvg.training.generator.classes import load_for_classes
from nvg.training.generator.config import REFERENCE_BATCH, GeneratorTraining
from nvg.training.generator.objective import Objective
from nvg.training.generator.repa import Aligner
from nvg.training.optim import ema_update, optimizer_of, set_lr, wsd
from nvg.training.parallel import replicate, shard, unreduced
from nvg.training.recompute import recompute_blocks
from nvg.training.snapshot import Snapshot, snapshot
from nvg.weights import header_for, is_stored, load_weights


class GeneratorState:
    """One generator with its optimizer, in step with the other processes.

    New, with the weights of the finished run `start_from` (`class_rows`: of other classes), or as
    `files` of an earlier process left it in the directory `checkpoint`.
    """

    def __init__(
        self,
        part: GeneratorKind,
        shape: GeneratorShape,
        training: GeneratorTraining,
        world: World,
        aligner: Aligner | None = None,
        checkpoint: Path | None = None,
        start_from: Path | None = None,
        class_rows: Sequence[int] | None = None,
    ) -> None:
        self.part, self.shape, self.training, self.world = part, shape, training, world
        self.model = build_generator(part, shape).to(world.device)
        self.aligner = aligner.to(world.device) if aligner else None
        if training.checkpoint_activations:
            recompute_blocks(self.model.backbone.blocks)
        self.ema = _copy_of(self.model)
        if start_from and not checkpoint:
            self._load_weights(start_from, class_rows)
        self.local = objective = Objective(
            self.model, self.aligner, training.align, training.align_block
        )
        if training.sharded:
            shard(objective, list(self.model.backbone.blocks), world, training.shard_over)
            sharded = self.model.state_dict()
            self.ema = {n: reshard_like(value, sharded[n]) for n, value in self.ema.items()}
        if checkpoint:
            self._load_weights(checkpoint, None)
        if checkpoint and self.aligner:
            load_weights(self.aligner, checkpoint / f"{part.value}-aligner.safetensors")
        self.optimizer = optimizer_of(objective, training)
        if checkpoint:
            load_optimizer(self.optimizer, checkpoint / f"{part.value}-optimizer.safetensors")
        if world.device.type == "cuda":
            self.model.backbone.compile()
        self.objective: nn.Module = objective if training.sharded else replicate(objective, world)
        self.peak_lr = training.lr * training.batch_size / REFERENCE_BATCH
        self.terms: dict[str, Tensor] = {}

    def accumulate(self, example: TrainingExample, is_last: bool) -> None:
        """Add the gradient of one micro-batch; processes average theirs at the last one."""
        with nullcontext() if is_last else unreduced(self.objective):
            terms = self.objective(example)
            (torch.stack(list(terms.values())).sum() / self.training.accumulate).backward()
        for name, value in terms.items():
            mean = value.detach() / self.training.accumulate
            self.terms[name] = self.terms.get(name, 0.0) + mean

    def update(self, step: int) -> dict[str, Tensor]:
        """One optimizer step; the mean terms, and the gradient norm before clipping."""
        training, terms = self.training, self.terms
        factor = wsd(
            step,
            training.steps,
            training.warmup,
            training.decay_start,
            training.warmup_start,
            training.final_lr,
        )
        set_lr(self.optimizer, self.peak_lr * factor)
        norm = nn.utils.clip_grad_norm_(self.objective.parameters(), training.clip)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        ema_update(self.ema, self.model.state_dict(), step, training.ema, training.ema_warmup)
        self.terms = {}
        return {**terms, f"{self.part.value}_norm": full_tensor(norm)}

    @contextmanager
    def ema_weights(self) -> Iterator[None]:
        """The model has the EMA weights and neither dropout nor drop path, for a while."""
        weights = self.model.state_dict()
        kept = {name: value.detach().clone() for name, value in weights.items()}
        self.model.load_state_dict(self.ema)
        self.local.eval()
        try:
            yield
        finally:
            self.model.load_state_dict(kept)
            self.local.train()

    def files(self) -> dict[str, Snapshot]:
        """Weights, EMA weights, optimizer state, and the projector of alignment, on the CPU.

        Where they are sharded this process's rows; else the main process has all, the others none.
        """
        name, sharded = self.part.value, self.training.sharded and self.world.size > 1
        if not sharded and not self.world.is_main:
            return {}
        header = header_for(self.shape)
        parts = {"": (self.model.state_dict(), header), "-ema": (self.ema, header)}
        if self.aligner:
            parts["-aligner"] = self.aligner.state_dict(), header_for(self.aligner.codec.shape)
        parts["-optimizer"] = optimizer_tensors(self.optimizer), {}
        return {
            f"{name}{suffix}.safetensors": snapshot(state, self.world, sharded, header)
            for suffix, (state, header) in parts.items()
        }

    def _load_weights(self, directory: Path, class_rows: Sequence[int] | None) -> None:
        plain, ema = (directory / f"{self.part.value}{s}.safetensors" for s in ("", "-ema"))
        load_for_classes(self.model, ema if is_stored(ema) else plain, class_rows)
        self.ema = _copy_of(self.model)
        if is_stored(plain):  # a packed run has EMA weights alone
            load_for_classes(self.model, plain, class_rows)


def _copy_of(model: Generator) -> dict[str, Tensor]:
    return {name: value.detach().clone() for name, value in model.state_dict().items()}
