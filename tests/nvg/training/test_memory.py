"""What a plan says of memory: sums, the largest micro-batch, the device."""

import pytest
import torch
from torch import nn

from nvg.training import memory
from nvg.training.memory import Device, Memory, device_of, trained_memory

GIB = 2**30
SMALL = Memory(parameters=GIB, gradients=GIB, optimizer=2 * GIB, ema=GIB, activations=GIB / 2)


def test_images_add_to_what_is_fixed() -> None:
    """5 GiB, and half a GiB an image; a tenth of the device is left free."""
    assert SMALL.fixed == 5 * GIB
    assert SMALL.total(4) == 7 * GIB
    assert SMALL.largest(10 * GIB) == 8
    assert SMALL.total(8) <= 0.9 * 10 * GIB < SMALL.total(9)
    assert SMALL.largest(5 * GIB) == 0


def test_a_plan_names_every_part() -> None:
    """The sum, the parts that are there, and what fits; a line where nothing does."""
    lines = SMALL.lines(4, Device("the GPU", 10 * GIB, True))
    assert lines == [
        "memory: 7.00 GiB (parameters 1.00, gradients 1.00, optimizer 2.00, EMA 1.00, activations "
        "of 4 images 2.00)",
        "the GPU has 10.00 GiB: micro-batches of up to 8 images fit",
    ]
    assert SMALL.lines(1, Device("it", GIB, True))[1] == "it has 1.00 GiB: not even one image fits"


def test_a_module_counts_what_it_trains() -> None:
    """Gradients and moments of what requires them; halves of matrices where networks use them."""
    module = nn.Sequential(nn.Linear(3, 5), nn.Linear(5, 7))
    module[1].requires_grad_(False)
    found = trained_memory(module, True, 10, frozen=100)
    assert (found.parameters, found.ema) == (4 * (20 + 42 + 100), 4 * 62)
    assert (found.gradients, found.optimizer) == (4 * 20, 8 * 20)
    assert found.casts == 2 * (15 + 35 + 100)
    assert trained_memory(module, False, 10).casts == 0
    more = found.with_trained(1000, True)
    assert more.fixed - found.fixed == 18_000
    assert more.ema == found.ema


def test_the_moments_are_those_of_the_optimizer() -> None:
    """What AdamW holds after a step, but for its counts."""
    module = nn.Linear(30, 50)
    optimizer = torch.optim.AdamW(module.parameters())
    module(torch.ones(1, 30)).sum().backward()
    optimizer.step()
    held = [
        value for state in optimizer.state.values() for value in state.values() if value.numel() > 1
    ]
    assert trained_memory(module, False, 0).optimizer == sum(value.nbytes for value in held)


def test_processes_share_what_is_sharded() -> None:
    """Weights, gradients, moments and EMA, not what is kept of their own images."""
    shared = SMALL.sharded(4)
    assert shared.fixed == SMALL.fixed / 4
    assert shared.activations == SMALL.activations
    summed = SMALL.sharded(4, accumulate=2)
    assert summed.fixed == shared.fixed + SMALL.gradients * 3 / 4  # whole until the last one


@pytest.mark.skipif(torch.cuda.is_available(), reason="a GPU is in hand")
def test_the_device_is_the_one_named_or_in_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    """A GPU of so many GiB, in bfloat16; else what the CPU has free, in float32."""
    assert device_of(80) == Device("the GPU", 80 * GIB, is_mixed=True)
    monkeypatch.setattr(memory, "free_bytes", lambda: 3 * GIB)
    assert device_of() == Device("the CPU", 3 * GIB, is_mixed=False)
