"""What a training step of the generators minimizes (Sec. 2.2): one random stage per image."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from nvg.generator.config import GeneratorKind
from nvg.generator.generator import Generator, TrainingExample
from nvg.quantizer import MultiGranularityQuantizer
from nvg.sequence import Sequences
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
        """Named loss terms, weighted: their sum is minimized."""
        device = example.label.device
        with torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda"):
            terms, intermediate_BNW = self.model.loss(example, self.align_block)
            if self.aligner is not None:
                error = self.aligner(intermediate_BNW, example.batch.features)
                terms["align"] = self.align * error
            return terms


def sample_example(
    models: Mapping[GeneratorKind, Generator],
    quantizer: MultiGranularityQuantizer,
    batch: Sequences,
    class_dropout_prob: float,
) -> dict[GeneratorKind, TrainingExample]:
    """Dropped labels, stages, canvases and noise for each model on one batch.

    Random draws come from torch's CPU generator, so a seed fixes them on any device.
    """
    count, K, device = len(batch), quantizer.geometry.K, batch.leaves.device
    null_class = next(iter(models.values())).backbone.null_class
    drop = (torch.rand(count) < class_dropout_prob).to(device) | (batch.label < 0)
    label = torch.where(drop, null_class, batch.label)
    stages = {
        GeneratorKind.CONTENT: torch.randint(0, K + 1, (count,)),
        GeneratorKind.STRUCTURE: torch.randint(1, max(K, 2), (count,)),
    }
    canvases, final = quantizer.teacher_canvases(
        batch.content, batch.leaves, [stage.to(device) for stage in stages.values()]
    )
    canvas_of = dict(zip(stages, canvases, strict=True))
    return {
        part: TrainingExample(
            batch, label, stages[part], canvas_of[part], final, model.draw_noise(final)
        )
        for part, model in models.items()
    }
