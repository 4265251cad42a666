"""What training asks of either generator: its noise and its loss.

Legend: B image of a batch, N position, C channel, K structure channel, W width.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass

from torch import Tensor, nn

from nvg.generator.backbone import Backbone
from nvg.sequence import Sequences


@dataclass(frozen=True)
class TrainingExample:
    """A batch and all that was sampled for it: what a generator computes its loss from."""

    batch: Sequences
    label: Tensor
    """Class per image [B]; class dropout has replaced some by the null class."""
    stage: Tensor
    """Stage i that is trained [B], on the CPU. An image of which several are is there as often, one
    copy after the other."""
    canvas: Tensor
    """Canvas x_{i-1} [B, N, C]."""
    final: Tensor
    """Canvas after the last stage [B, N, C]."""
    noise: tuple[Tensor, ...] = ()
    """What the generator's `draw_noise` gave."""


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
