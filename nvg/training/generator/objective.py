"""What a training step of the generators minimises (Sec. 2.2): one random stage per image.

Legend: B image of a batch, N position, C channel, K structure channel.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from nvg.generator.config import Generator, GeneratorKind
from nvg.generator.content import ContentGenerator, content_loss
from nvg.generator.structure_flow import StructureGenerator, structure_loss
from nvg.generator.variants import ContentInput
from nvg.quantizer import MultiGranularityQuantizer
from nvg.sequence import Sequences
from nvg.training.generator.repa import Aligner


@dataclass(frozen=True)
class TrainingExample:
    """A batch with everything drawn for it: what an objective computes its terms from."""

    batch: Sequences
    label: Tensor
    """[B], a share of them the null class."""
    stage: Tensor
    """Stage that each image learns [B], on the CPU."""
    canvas: Tensor
    """Canvas before that stage [B, N, C]."""
    final: Tensor
    """Canvas after the last stage [B, N, C]."""
    noise: Tensor | None
    """N(0, 1): [B, N, K] for structure, [B, N, C] for a noised canvas."""
    time: Tensor | None
    """Flow time [B]."""


class Objective(nn.Module):
    """A generator and its loss as one module, which is what DDP and FSDP wrap.

    With an aligner, content also aligns its tokens after block `tap` with features of the image.
    """

    def __init__(
        self, model: Generator, aligner: Aligner | None = None, align: float = 0.0, tap: int = 0
    ) -> None:
        super().__init__()
        self.model = model
        self.aligner, self.align, self.tap = aligner, align, tap

    def forward(self, drawn: TrainingExample) -> dict[str, Tensor]:
        """Named loss terms, weighted: their sum is what is minimised."""
        model, batch, device = self.model, drawn.batch, drawn.label.device
        with torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda"):
            if isinstance(model, ContentGenerator):
                canvas_error, entropy, tapped = content_loss(
                    model,
                    drawn.canvas,
                    drawn.final,
                    batch.leaves,
                    batch.content,
                    drawn.label,
                    drawn.stage.tolist(),
                    drawn.noise,
                    self.tap,
                )
                terms = {"canvas": canvas_error, "entropy": entropy}
                if self.aligner is not None:
                    assert batch.features is not None
                    terms["align"] = self.align * self.aligner(tapped, batch.features)
                return terms
            assert drawn.noise is not None
            assert drawn.time is not None
            stage = drawn.stage.to(device)
            flow = structure_loss(
                model, drawn.canvas, batch.leaves, drawn.label, stage, drawn.noise, drawn.time
            )
            return {"flow": flow}


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
    backbone = next(iter(models.values())).backbone
    drop = (torch.rand(count) < class_dropout_prob).to(device) | (batch.label < 0)
    label = torch.where(drop, backbone.null_class, batch.label)
    stages = {
        GeneratorKind.CONTENT: torch.randint(0, K + 1, (count,)),
        GeneratorKind.STRUCTURE: torch.randint(1, max(K, 2), (count,)),
    }
    canvases, final = quantizer.teacher_canvases(
        batch.content, batch.leaves, [stage.to(device) for stage in stages.values()]
    )
    canvas_of = dict(zip(stages, canvases, strict=True))
    found = {}
    for part, model in models.items():
        noise = time = None
        if isinstance(model, StructureGenerator):
            noise = torch.randn(count, quantizer.geometry.positions, K).to(device)
            time = torch.rand(count).to(device)
        elif model.noise is not ContentInput.CANVAS:
            noise = torch.randn(final.shape).to(device)
        found[part] = TrainingExample(
            batch, label, stages[part], canvas_of[part], final, noise, time
        )
    return found
