"""What a training step takes in memory: the parts that are the same for every network.

Bytes follow from sizes; the tests compare them with what autograd keeps. On a GPU the networks run
in bfloat16 under autocast, on a CPU in float32.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace

import torch
from torch import nn

from nvg.distributed import default_device
from nvg.loader.preload import free_bytes

FLOAT, HALF = 4, 2  # bytes of a float32 and of a bfloat16
ADAM = 2 * FLOAT  # bytes of a parameter's two moments
SPARE = 0.1  # fraction of a device's memory for its context, buffers of single operations and gaps


@dataclass(frozen=True)
class Device:
    """What a training is planned for."""

    name: str
    bytes: float
    is_mixed: bool
    """Whether networks run in bfloat16 there."""


def device_of(memory: float | None = None) -> Device:
    """A GPU with `memory` GiB; without, the device in hand: its GPU, or what the CPU has free."""
    if memory is not None:
        return Device("the GPU", memory * 2**30, is_mixed=True)
    here = default_device()
    if here.type == "cuda":
        found = torch.cuda.get_device_properties(here)
        return Device(found.name, found.total_memory, is_mixed=True)
    return Device("the CPU", free_bytes(), is_mixed=False)


@dataclass(frozen=True, kw_only=True)
class Memory:
    """Bytes of one process in training."""

    parameters: int
    """Those that are trained, and frozen ones."""
    gradients: int
    optimizer: int
    ema: int
    casts: int = 0
    """Weights in bfloat16, kept from the forward to the backward pass."""
    activations: float
    """What is kept of one image for the backward pass."""

    @property
    def fixed(self) -> int:
        """All that does not grow with the batch."""
        return self.parameters + self.gradients + self.optimizer + self.ema + self.casts

    def with_trained(self, numbers: int, is_mixed: bool) -> "Memory":
        """With so many more numbers that are trained and have no EMA."""
        return replace(
            self,
            parameters=self.parameters + FLOAT * numbers,
            gradients=self.gradients + FLOAT * numbers,
            optimizer=self.optimizer + ADAM * numbers,
            casts=self.casts + (HALF * numbers if is_mixed else 0),
        )

    def total(self, images: int) -> float:
        """With a micro-batch of so many images."""
        return self.fixed + images * self.activations

    def largest(self, device: float) -> int:
        """Images of the largest micro-batch on a device with so many bytes; 0 where none fits."""
        return max(int(((1 - SPARE) * device - self.fixed) / self.activations), 0)

    def sharded(self, processes: int, accumulate: int = 1) -> "Memory":
        """A process's own, where all share weights, gradients and optimizer state.

        Gradients of several micro-batches are whole until the last one.
        """
        names = ["parameters", "optimizer", "ema"] + ["gradients"] * (accumulate == 1)
        return replace(self, **{name: getattr(self, name) // processes for name in names})

    def lines(self, images: int, device: Device) -> list[str]:
        """What a plan says of micro-batches of `images` on a device."""
        parts = {
            "parameters": self.parameters,
            "gradients": self.gradients,
            "optimizer": self.optimizer,
            "EMA": self.ema,
            "bfloat16 copies": self.casts,
            f"activations of {images} images": images * self.activations,
        }
        said = ", ".join(f"{name} {gib(size)}" for name, size in parts.items() if size)
        lines = [f"memory: {gib(self.total(images))} GiB ({said})"]
        most = self.largest(device.bytes)
        fits = f"micro-batches of up to {most} images fit" if most else "not even one image fits"
        return [*lines, f"{device.name} has {gib(device.bytes)} GiB: {fits}"]


def gib(size: float) -> str:
    """Bytes in GiB."""
    return f"{size / 2**30:.2f}"


def count(parameters: Iterable[nn.Parameter]) -> int:
    """How many numbers they are."""
    return sum(parameter.numel() for parameter in parameters)


def trained_memory(
    module: nn.Module, is_mixed: bool, activations: float, frozen: int = 0
) -> Memory:
    """The memory of training those parameters of a module that require gradients.

    With EMA weights of all. `frozen` counts the numbers of other networks in use. Meta tensors will
    do.
    """
    own = count(module.parameters())
    trained = count(p for p in module.parameters() if p.requires_grad)
    matrices = count(p for p in module.parameters() if p.ndim > 1)
    return Memory(
        parameters=FLOAT * (own + frozen),
        gradients=FLOAT * trained,
        optimizer=ADAM * trained,
        ema=FLOAT * own,
        casts=HALF * (matrices + frozen) if is_mixed else 0,
        activations=activations,
    )
