"""What a training step of the generators minimizes (Sec. 2.2): some stages of each image.

Legend: B image of a batch, S stage, N position, C channel, W width.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from nvg.generator.config import GeneratorKind
from nvg.generator.generator import ByStage, Generator, TrainingExample
from nvg.host_copy import sent
from nvg.precision import Part, numbers
from nvg.quantizer import MultiGranularityQuantizer
from nvg.sequence import Sequences
from nvg.training.generator.config import GeneratorTraining
from nvg.training.generator.corruption import corrupted, draw_errors
from nvg.training.generator.repa import Aligner


class Objective(nn.Module):
    """A generator and its loss as one module, which is what DDP and FSDP wrap.

    An aligner adds a term: the tokens after block `align_block` against features of the image.
    """

    def __init__(
        self,
        model: Generator,
        aligner: Aligner | None = None,
        align: float = 0.0,
        align_block: int = 0,
    ) -> None:
        super().__init__()
        self.model = model
        self.aligner, self.align, self.align_block = aligner, align, align_block

    def forward(self, example: TrainingExample) -> dict[str, Tensor]:
        """Named loss terms, weighted: their sum is minimized. No alignment in evaluation."""
        with numbers(Part.BLOCKS, example.label.device):
            terms, intermediate_BNW = self.model.loss(example, self.align_block)
            if self.aligner is not None and self.training:
                error = self.aligner(intermediate_BNW, example.batch.features)
                terms["align"] = self.align * error
            return terms


def sample_example(
    models: Mapping[GeneratorKind, Generator],
    quantizer: MultiGranularityQuantizer,
    batch: Sequences,
    training: GeneratorTraining,
    near_codes: Tensor | None = None,
) -> dict[GeneratorKind, TrainingExample]:
    """Dropped labels, stages, canvases and noise for each model on one batch of the loader.

    The canvases of all its stages are rebuilt once for both models, with `near_codes` from tokens
    some of which are corrupted. Everything random is drawn first, by torch's CPU generator, so that
    a seed fixes it on any device; then it goes to the quantizer's device with the batch, in one
    copy.
    """
    drawn = _draw(models, quantizer, batch, training, near_codes)
    batch, drawn = drawn.to(batch, quantizer.codebook.device)
    null_class = next(iter(models.values())).backbone.null_class
    label = torch.where(drawn.drop | (batch.label < 0), null_class, batch.label)
    stages = list(drawn.stages.values())
    canvases, final = quantizer.teacher_canvases(batch.content, batch.leaves, stages)
    if near_codes is not None:
        seen = corrupted(batch.content, near_codes, *drawn.errors)
        canvases, _ = quantizer.teacher_canvases(seen, batch.leaves, stages)
    examples = {}
    for (part, stage_BS), canvas_BSNC in zip(drawn.stages.items(), canvases, strict=True):
        if part in models:
            each = stage_BS.shape[1]
            examples[part] = TrainingExample(
                batch.repeat(each),
                label.repeat_interleave(each, 0),
                stage_BS.flatten(),
                canvas_BSNC.flatten(0, 1),
                final.repeat_interleave(each, 0),
                drawn.noise[part],
                drawn.by_stage[part],
            )
    return examples


@dataclass(frozen=True)
class _Drawn:
    """All that is random in the examples of a batch of B images."""

    drop: Tensor
    """Whether a label becomes the null class [B]."""
    stages: dict[GeneratorKind, Tensor]
    """Stages that are trained [B, S]."""
    by_stage: dict[GeneratorKind, ByStage]
    """Their B S copies of images sorted by stage."""
    errors: tuple[Tensor, ...]
    """What `draw_errors` gave, where tokens are corrupted."""
    noise: dict[GeneratorKind, tuple[Tensor, ...]]

    def to(self, batch: Sequences, device: torch.device) -> tuple[Sequences, "_Drawn"]:
        """The batch and itself on a device, in one copy."""
        names = [name for name, value in vars(batch).items() if value is not None and name != "row"]
        tensors = [getattr(batch, name) for name in names]
        tensors += [self.drop, *self.stages.values(), *self.errors]
        tensors += [each.order for each in self.by_stage.values()]
        tensors += [value for values in self.noise.values() for value in values]
        parts = iter(sent(tensors, device))
        there = replace(batch, **{name: next(parts) for name in names}).to(device)
        return there, _Drawn(
            drop=next(parts),
            stages={part: next(parts) for part in self.stages},
            errors=tuple(next(parts) for _ in self.errors),
            by_stage={n: replace(each, order=next(parts)) for n, each in self.by_stage.items()},
            noise={n: tuple(next(parts) for _ in values) for n, values in self.noise.items()},
        )


def _draw(
    models: Mapping[GeneratorKind, Generator],
    quantizer: MultiGranularityQuantizer,
    batch: Sequences,
    training: GeneratorTraining,
    near_codes: Tensor | None,
) -> _Drawn:
    """On the CPU; the order of the draws fixes every run."""
    count, geometry = len(batch), quantizer.geometry
    drop = torch.rand(count) < training.class_dropout_prob
    stages = {
        GeneratorKind.CONTENT: draw_stages(count, 0, geometry.stages, training.stages_per_image),
        GeneratorKind.STRUCTURE: draw_stages(
            count, 1, max(geometry.K, 2), training.stages_per_image
        ),
    }
    errors: tuple[Tensor, ...] = ()
    if near_codes is not None:
        errors = draw_errors(batch.content.shape, near_codes, training.corruption)
    noise = {}
    for part, stage_BS in stages.items():
        if part in models:
            # Shape and device of a canvas is all that noise asks for.
            shape = (stage_BS.numel(), geometry.positions, quantizer.codebook.shape[1])
            noise[part] = models[part].draw_noise(torch.empty(()).expand(shape), count)
    by_stage = {part: ByStage.of(stage_BS.flatten()) for part, stage_BS in stages.items()}
    return _Drawn(drop, stages, by_stage, errors, noise)


def draw_stages(count: int, first: int, stop: int, each: int) -> Tensor:
    """Different stages of first..stop-1 for so many images [B, S], at most all of them."""
    if each == 1:
        return torch.randint(first, stop, (count, 1))
    stages = torch.arange(first, stop).expand(count, -1)
    if each >= stop - first:
        return stages
    drawn = torch.rand(count, stop - first).argsort(dim=1)[:, :each].sort(dim=1).values
    return first + drawn
