"""Training of the generators from a store: tokens only, no pixels (Sec. 2.2, A.5).

Legend: B image, N position, C latent channel, K structure channel.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from nvg.backbone import TransformerConfig
from nvg.checkpoint import load_optimizer, load_weights, optimizer_bytes, weights_bytes
from nvg.config import require_share
from nvg.content import ContentGenerator, content_loss
from nvg.detokenize import WEIGHTS
from nvg.files import write_atomic
from nvg.generators import Generator, GeneratorShape, Part, shape_of, store_quantizer
from nvg.loader import SequenceLoader
from nvg.optim import set_lr, wsd
from nvg.quantizer import MultiGranularityQuantizer
from nvg.sequence import Sequences
from nvg.store import Store
from nvg.structure_flow import StructureGenerator, structure_loss
from nvg.training import LoopConfig, Metrics, Run, RunError, device, step_seed, train_loop

CLASSES = "classes.json"  # names by class id, in a run directory
REFERENCE_BATCH = 256  # the learning rate is given for this batch and scaled linearly


@dataclass(frozen=True, kw_only=True)
class GeneratorTraining(LoopConfig):
    """How to train both generators; the defaults are the paper's d16 (A.5), lr for batch 256."""

    steps: int = 333_000
    batch_size: int = 768
    lr: float = 1e-4
    warmup: int = 1000
    betas: tuple[float, ...] = (0.9, 0.95)
    weight_decay: float = 0.05
    clip: float = 2.0
    decay_start: float = 0.8
    null_share: float = 0.1

    def __post_init__(self) -> None:
        super().__post_init__()
        require_share(self, "null_share", "decay_start")


@dataclass(frozen=True, kw_only=True)
class GeneratorConfig:
    """Both generators and their training."""

    content: TransformerConfig
    structure: TransformerConfig
    train: GeneratorTraining = GeneratorTraining()


class Learner:
    """One generator with its optimiser."""

    def __init__(self, part: Part, shape: GeneratorShape, training: GeneratorTraining) -> None:
        self.part, self.shape, self.training = part, shape, training
        self.model = shape.build(part).to(device())
        self.peak_lr = training.lr * training.batch_size / REFERENCE_BATCH
        self.optimizer = training.optimizer(self.model)

    def update(self, loss: Tensor, step: int) -> Tensor:
        """One optimiser step; returns the gradient norm before clipping."""
        training = self.training
        factor = wsd(step, training.steps, training.warmup, training.decay_start)
        set_lr(self.optimizer, self.peak_lr * factor)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        norm = nn.utils.clip_grad_norm_(self.model.parameters(), training.clip)
        self.optimizer.step()
        return norm

    def files(self) -> dict[str, bytes]:
        """Weights and optimiser state."""
        return {
            f"{self.part.value}.safetensors": weights_bytes(self.model.state_dict(), self.shape),
            f"{self.part.value}-optimizer.safetensors": optimizer_bytes(self.optimizer),
        }

    def restore(self, checkpoint: Path) -> None:
        """Take back what `files` gave."""
        load_weights(self.model, checkpoint / f"{self.part.value}.safetensors")
        load_optimizer(self.optimizer, checkpoint / f"{self.part.value}-optimizer.safetensors")


def generator_losses(
    models: dict[Part, Generator],
    quantizer: MultiGranularityQuantizer,
    batch: Sequences,
    null_share: float,
) -> dict[Part, dict[str, Tensor]]:
    """Named loss terms of each model on one batch; every image learns one random stage.

    Random draws come from torch's CPU generator, so a seed fixes them on any device.
    """
    count, K, where = len(batch), quantizer.geometry.K, batch.leaves.device
    label = _drop_labels(batch.label, quantizer, models, null_share)
    content_stages = torch.randint(0, K + 1, (count,))
    structure_stages = torch.randint(1, max(K, 2), (count,))
    stages = [content_stages.to(where), structure_stages.to(where)]
    (content_canvas, structure_canvas), final = quantizer.teacher_canvases(
        batch.content, batch.leaves, stages
    )
    terms: dict[Part, dict[str, Tensor]] = {}
    with torch.autocast(where.type, torch.bfloat16, enabled=where.type == "cuda"):
        for part, model in models.items():
            if isinstance(model, ContentGenerator):
                canvas_error, entropy = content_loss(
                    model,
                    content_canvas,
                    final,
                    batch.leaves,
                    batch.content,
                    label,
                    content_stages.tolist(),
                )
                terms[part] = {"canvas": canvas_error, "entropy": entropy}
            elif isinstance(model, StructureGenerator):
                noise = torch.randn(count, quantizer.geometry.positions, K).to(where)
                time = torch.rand(count).to(where)
                flow = structure_loss(
                    model, structure_canvas, batch.leaves, label, stages[1], noise, time
                )
                terms[part] = {"flow": flow}
    return terms


def _drop_labels(
    label: Tensor,
    quantizer: MultiGranularityQuantizer,
    models: dict[Part, Generator],
    null_share: float,
) -> Tensor:
    """Labels with a share, and all missing ones, replaced by the null class."""
    backbone = next(iter(models.values())).backbone
    drop = (torch.rand(len(label)) < null_share).to(label.device) | (label < 0)
    return torch.where(drop, backbone.null_class, label)


def endless(loader: SequenceLoader) -> Iterator[Sequences]:
    """Epoch after epoch."""
    while True:
        yield from loader


def train_generator(config: GeneratorConfig, store: Store, parts: list[Part], run: Run) -> None:
    """Train the named generators on the same batches; leaves `<part>.safetensors` and a decoder."""
    training, where = config.train, device()
    torch.manual_seed(step_seed(training.seed, -1))
    learners = [
        Learner(part, shape_of(getattr(config, part.value), store), training) for part in parts
    ]
    quantizer = store_quantizer(store).to(where)
    loader = SequenceLoader(store, training.batch_size, training.seed)
    start = run.start_step()
    source = {name: store.manifest[name] for name in ("tokenizer", "source", "rows", "views")}
    if start:
        saved = run.checkpoints.state(start)
        if saved["store"] != source:
            raise RunError(f"{run.directory} was trained on another store than {store.path}")
        for learner in learners:
            learner.restore(run.checkpoints.path(start))
        loader.load_state_dict(saved["loader"])
    batches = endless(loader)
    models: dict[Part, Generator] = {learner.part: learner.model for learner in learners}

    def step(number: int) -> Metrics:
        batch = next(batches).to(where)
        metrics: Metrics = {}
        terms = generator_losses(models, quantizer, batch, training.null_share)
        for learner in learners:
            named = terms[learner.part]
            norm = learner.update(torch.stack(list(named.values())).sum(), number)
            metrics |= named
            metrics[f"{learner.part.value}_norm"] = norm
        return metrics

    def state() -> tuple[dict[str, bytes], dict[str, Any]]:
        files = {name: data for learner in learners for name, data in learner.files().items()}
        return files, {"loader": loader.state_dict(), "store": source}

    train_loop(run, training, start, step, state, " + ".join(part.value for part in parts))
    _leave_results(run.directory, learners, store)


def _leave_results(directory: Path, learners: list[Learner], store: Store) -> None:
    """Weights of each generator, and what sampling needs of the store: a run stands alone."""
    write_atomic(directory / WEIGHTS, store.read(WEIGHTS))
    write_atomic(directory / CLASSES, json.dumps(store.manifest["classes"]).encode())
    for learner in learners:
        path = directory / f"{learner.part.value}.safetensors"
        identity = store.manifest["tokenizer"]
        state = learner.model.state_dict()
        write_atomic(path, weights_bytes(state, learner.shape, tokenizer=identity))
