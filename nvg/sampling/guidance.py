"""Classifier-free guidance, and noise that belongs to an image.

Legend: B image of a batch.
"""

import math
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from nvg.sampling.config import SamplerConfig
from nvg.seeding import step_seed


@dataclass(frozen=True)
class Draw:
    """Random numbers that every image of a batch draws."""

    fill: Callable[..., Tensor]
    """torch.randn or torch.rand."""
    shape: tuple[int, ...]
    """Of one image."""


class Noise:
    """Random numbers of each image, whatever batch it is sampled in.

    `ahead` are the draws that will be asked for first, in their order: they are drawn at once, and
    one copy, which nobody waits for, takes them to the device. ValueError when others are asked.
    """

    def __init__(
        self, seed: int, indices: range, device: torch.device, ahead: Sequence[Draw] = ()
    ) -> None:
        self.device = device
        self.generators = [torch.Generator().manual_seed(step_seed(seed, i)) for i in indices]
        self.ahead = deque(zip(ahead, self._drawn(ahead), strict=True))

    def normal(self, *shape: int) -> Tensor:
        """Standard normal [B, *shape]."""
        return self._next(Draw(torch.randn, shape))

    def uniform(self, *shape: int) -> Tensor:
        """Uniform in [0, 1) [B, *shape]."""
        return self._next(Draw(torch.rand, shape))

    def _next(self, draw: Draw) -> Tensor:
        if not self.ahead:
            return self._drawn([draw])[0]
        planned, values = self.ahead.popleft()
        if planned != draw:
            raise ValueError(f"drawn ahead was {planned}, not {draw}")
        return values

    def _drawn(self, draws: Sequence[Draw]) -> list[Tensor]:
        """Each draw [B, *shape], all in one stretch of memory on the device."""
        count = len(self.generators)
        sizes = [count * math.prod(draw.shape) for draw in draws]
        host = torch.empty(sum(sizes), pin_memory=self.device.type == "cuda")
        shapes = [(count, *draw.shape) for draw in draws]
        parts = [part.view(s) for part, s in zip(host.split(sizes), shapes, strict=True)]
        for image, generator in enumerate(self.generators):
            for draw, part in zip(draws, parts, strict=True):
                draw.fill(draw.shape, generator=generator, out=part[image])
        moved = host.to(self.device, non_blocking=True)
        return [part.view(s) for part, s in zip(moved.split(sizes), shapes, strict=True)]


@dataclass(frozen=True)
class Guidance:
    """Classifier-free guidance for a batch of class ids: uncond + scale (cond - uncond).

    Both halves are one batch; where the scale is 1 there is no unconditional half.
    """

    label_B: Tensor
    null_class: int
    scale: float

    @property
    def labels(self) -> Tensor:
        """Class ids of both halves, [2B] or [B]."""
        null_B = torch.full_like(self.label_B, self.null_class)
        return self.label_B if self.scale == 1.0 else torch.cat((self.label_B, null_B))

    def both(self, part: Tensor) -> Tensor:
        """An input [B, ...] for both halves."""
        return part if self.scale == 1.0 else torch.cat((part, part))

    def mix(self, predicted: Tensor) -> Tensor:
        """The guided prediction [B, ...] from that of both halves."""
        if self.scale == 1.0:
            return predicted
        conditional, unconditional = predicted.chunk(2)
        return unconditional + self.scale * (conditional - unconditional)


def untrained_null_warnings(
    config: SamplerConfig, class_dropout_prob: float, classes: int
) -> list[str]:
    """A line where guidance would use a null class that training never saw."""
    is_guided = any(each != 1 for each in (config.content_guidance, config.structure_guidance))
    if class_dropout_prob or not classes or not is_guided:
        return []
    return [
        "guidance needs the null class, which generator.train.class_dropout_prob = 0 never "
        "trains: --set sample.content_guidance=1 --set sample.structure_guidance=1"
    ]
