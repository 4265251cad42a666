"""Buffers that a network moves are the mean over micro-batches, each begun from the same."""

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

from nvg.training.autoencoder.buffers import MeanBuffers

PARTS = (torch.tensor([[1.0], [3.0]]), torch.tensor([[10.0]]))


class Mover(nn.Module):
    """Moves its mean half way to that of what it sees, and counts."""

    mean: Tensor
    count: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor(4.0))
        self.register_buffer("count", torch.tensor(0))

    def forward(self, values: Tensor) -> None:
        self.mean.lerp_(values.mean(), 0.5)
        self.count += 1


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_the_order_of_micro_batches_does_not_matter(order: tuple[int, int]) -> None:
    """Means 2 of two images and 10 of one: half way from 4 to their mean 14/3; one pass."""
    module = Mover()
    buffers = MeanBuffers(module)
    for n in order:
        with buffers.part(len(PARTS[n]) / 3):
            module(PARTS[n])
    buffers.settle()
    assert float(module.mean) == pytest.approx((4 + 14 / 3) / 2)
    assert int(module.count) == 1


def test_one_part_moves_them_itself() -> None:
    """To the bit as without; there is nothing to sum over processes."""
    module, plain = Mover(), Mover()
    plain(PARTS[0] / 3)
    buffers = MeanBuffers(module)
    with buffers.part(1.0):
        module(PARTS[0] / 3)
    assert buffers.sums == []
    buffers.settle()
    assert torch.equal(module.mean, plain.mean)
    MeanBuffers(nn.Module()).settle()


def test_a_spectral_norm_iterates_once_for_all() -> None:
    """Its vectors depend on the weights alone, so every micro-batch divides by the same number."""
    torch.manual_seed(0)
    layer = spectral_norm(nn.Linear(3, 3))
    buffers, seen = MeanBuffers(layer), []
    for share in (0.25, 0.75):
        with buffers.part(share):
            output = layer(torch.ones(1, 3))
            output.sum().backward()  # gradients flow inside
            seen.append(output)
    buffers.settle()
    assert torch.equal(seen[0], seen[1])
