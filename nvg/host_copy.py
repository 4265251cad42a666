"""Host to device in one copy, and small results back, without waiting for the device.

A copy from or to ordinary memory blocks until the device has done all that was asked of it before.
One to or from pinned memory is queued behind that work and lets the host go on.
"""

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

ALIGNMENT = 16  # bytes; a view of another dtype must begin at a multiple of its size


def sent(tensors: Sequence[Tensor], device: torch.device) -> list[Tensor]:
    """Tensors of any dtype on a device, by one copy from pinned memory; as they are on a CPU."""
    if device.type == "cpu":
        return list(tensors)
    sizes = [tensor.numel() * tensor.element_size() for tensor in tensors]
    places = [math.ceil(size / ALIGNMENT) * ALIGNMENT for size in sizes]
    buffer = torch.empty(sum(places), dtype=torch.uint8, pin_memory=torch.cuda.is_available())
    for tensor, size, part in zip(tensors, sizes, buffer.split(places), strict=True):
        part[:size].view(tensor.dtype).view(tensor.shape).copy_(tensor)
    parts = buffer.to(device, non_blocking=True).split(places)
    return [
        part[:size].view(tensor.dtype).view(tensor.shape)
        for tensor, size, part in zip(tensors, sizes, parts, strict=True)
    ]


class Read:
    """Named numbers on their way to the host: one copy, of which nothing waits until it is read."""

    def __init__(self, values: Mapping[str, Tensor]) -> None:
        self.names = list(values)
        found = [value.detach().float().reshape(()) for value in values.values()]
        together = torch.stack(found)
        # With non_blocking torch takes pinned memory for the host's side.
        self._numbers = together.to("cpu", non_blocking=True)
        self._event = torch.cuda.Event() if together.is_cuda else None
        if self._event is not None:
            self._event.record()

    def numbers(self) -> Tensor:
        """The numbers in order of their names, float32 on the CPU; waits for their copy alone."""
        if self._event is not None:
            self._event.synchronize()
        return self._numbers
