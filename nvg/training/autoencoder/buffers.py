"""Buffers that a network moves as it computes, over several micro-batches.

The discriminators have some: statistics of batch norms, vectors of spectral norms, LeCam's means.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn


class MeanBuffers:
    """Lets every micro-batch begin with the same buffers; afterwards they are the mean of what all
    left, by their shares of the images. So neither their order nor their process matters.

    Whole numbers, which count passes, are as the last one left them.
    """

    def __init__(self, module: nn.Module) -> None:
        self.own = list(module.buffers())
        self.before: list[Tensor] = []
        self.sums: list[Tensor] = []
        """To be summed over the processes before `settle`; empty where one part is all."""

    @contextmanager
    @torch.no_grad()
    def part(self, share: float) -> Iterator[None]:
        """Compute a micro-batch, which is this share of the step's images."""
        if share == 1 or not self.own:
            yield
            return
        if self.sums:
            torch._foreach_copy_(self.own, self.before)
        else:
            self.before = [buffer.clone() for buffer in self.own]
            self.sums = [torch.zeros_like(buffer) for buffer in self._means()]
        with torch.enable_grad():
            yield
        # Rounded before they are added, as where another process adds them.
        torch._foreach_add_(self.sums, torch._foreach_mul(self._means(), share))

    @torch.no_grad()
    def settle(self) -> None:
        """Take the mean over the micro-batches."""
        if self.sums:
            torch._foreach_copy_(self._means(), self.sums)

    def _means(self) -> list[Tensor]:
        return [buffer for buffer in self.own if buffer.is_floating_point()]
