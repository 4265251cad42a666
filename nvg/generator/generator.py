"""What training asks of either generator: its noise and its loss.

Legend: B image of a batch, N position, C channel, K structure channel, W width.
"""

from abc import ABC, abstractmethod
from collections import Counter
from dataclasses import dataclass

from torch import Tensor, nn

from nvg.generator.backbone import Backbone
from nvg.sequence import Sequences


@dataclass(frozen=True)
class ByStage:
    """The images of a batch in order of their stages: those of one stage follow each other."""

    counts: tuple[tuple[int, int], ...]
    """Each stage that occurs and how many images are at it, ascending; known to the host."""
    order: Tensor
    """Number of each image in the batch [B], int64."""

    @staticmethod
    def of(stage_B: Tensor) -> "ByStage":
        """Sorted by stages that are on the CPU; images of one stage keep their order."""
        counts = sorted(Counter(stage_B.tolist()).items())
        return ByStage(tuple(counts), stage_B.argsort(stable=True))


@dataclass(frozen=True)
class TrainingExample:
    """A batch and all that was sampled for it: what a generator computes its loss from."""

    batch: Sequences
    label: Tensor
    """Class per image [B]; class dropout has replaced some by the null class."""
    stage: Tensor
    """Stage i that is trained [B], on the CPU unless `by_stage` is given. An image of which several
    are is there as often, one copy after the other."""
    canvas: Tensor
    """Canvas x_{i-1} [B, N, C]."""
    final: Tensor
    """Canvas after the last stage [B, N, C]."""
    noise: tuple[Tensor, ...] = ()
    """What the generator's `draw_noise` gave."""
    by_stage: ByStage | None = None
    """The images sorted by stage, where that is done already, on the canvas's device."""


class Generator(nn.Module, ABC):
    """A network that predicts one stage, with its own loss."""

    backbone: Backbone

    @abstractmethod
    def draw_noise(self, canvas_BNC: Tensor, images: int | None = None) -> tuple[Tensor, ...]:
        """The noise of a training example of so many different images, on the canvas's device.

        Random draws come from torch's CPU generator, so a seed fixes them on any device.
        """

    @abstractmethod
    def loss(
        self, example: TrainingExample, intermediate_block: int = 0
    ) -> tuple[dict[str, Tensor], Tensor]:
        """Named loss terms, and the tokens [B, N, W] after a block of the backbone."""
