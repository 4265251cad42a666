"""What a training step of the generators minimizes (Sec. 2.2): some stages of each image.

Legend: B image of a batch, S stage, N position, C channel, W width.
"""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from nvg.generator.config import GeneratorKind
from nvg.generator.generator import Generator, TrainingExample
from nvg.quantizer import MultiGranularityQuantizer
from nvg.sequence import Sequences
from nvg.training.generator.config import GeneratorTraining
from nvg.training.generator.corruption import corrupted
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
        device = example.label.device
        with torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda"):
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
    """Dropped labels, stages, canvases and noise for each model on one batch.

    The canvases of all its stages are rebuilt once for both models, with `near_codes` from tokens
    some of which are corrupted. Random draws come from torch's CPU generator, so a seed fixes them
    on any device.
    """
    count, K, device = len(batch), quantizer.geometry.K, batch.leaves.device
    null_class = next(iter(models.values())).backbone.null_class
    drop = (torch.rand(count) < training.class_dropout_prob).to(device) | (batch.label < 0)
    label = torch.where(drop, null_class, batch.label)
    stages = {
        GeneratorKind.CONTENT: draw_stages(count, 0, K + 1, training.stages_per_image),
        GeneratorKind.STRUCTURE: draw_stages(count, 1, max(K, 2), training.stages_per_image),
    }
    drawn = [stage.to(device) for stage in stages.values()]
    canvases, final = quantizer.teacher_canvases(batch.content, batch.leaves, drawn)
    if near_codes is not None:
        seen = corrupted(batch.content, near_codes, training.corruption)
        canvases, _ = quantizer.teacher_canvases(seen, batch.leaves, drawn)
    examples = {}
    for (part, stage_BS), canvas_BSNC in zip(stages.items(), canvases, strict=True):
        if part in models:
            each = stage_BS.shape[1]
            canvas, repeated = canvas_BSNC.flatten(0, 1), final.repeat_interleave(each, 0)
            examples[part] = TrainingExample(
                batch.repeat(each),
                label.repeat_interleave(each, 0),
                stage_BS.flatten(),
                canvas,
                repeated,
                models[part].draw_noise(canvas, count),
            )
    return examples


def draw_stages(count: int, first: int, stop: int, each: int) -> Tensor:
    """Different stages of first..stop-1 for so many images [B, S], at most all of them."""
    if each == 1:
        return torch.randint(first, stop, (count, 1))
    stages = torch.arange(first, stop).expand(count, -1)
    if each >= stop - first:
        return stages
    drawn = torch.rand(count, stop - first).argsort(dim=1)[:, :each].sort(dim=1).values
    return first + drawn
