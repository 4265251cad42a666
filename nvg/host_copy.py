"""Host to device in one copy, and small results back, without waiting for the device.

A copy from or to ordinary memory blocks until the device has done all that was asked of it before.
One to or from pinned memory is queued behind that work and lets the host go on.
"""

import math
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

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


class Fetch:
    """Tensors on their way to the host by copies of which nothing waits until they are read."""

    def __init__(self, tensors: Sequence[Tensor]) -> None:
        # With non_blocking torch takes pinned memory for the host's side.
        self._tensors = [tensor.to("cpu", non_blocking=True) for tensor in tensors]
        self._event = torch.cuda.Event() if any(each.is_cuda for each in tensors) else None
        if self._event is not None:
            self._event.record()

    def tensors(self) -> list[Tensor]:
        """Those on the CPU, in their order; waits for their copies alone."""
        if self._event is not None:
            self._event.synchronize()
        return self._tensors


class Read:
    """Named numbers on their way to the host: one copy, of which nothing waits until it is read."""

    def __init__(self, values: Mapping[str, Tensor]) -> None:
        self.names = list(values)
        found = [value.detach().float().reshape(()) for value in values.values()]
        self._fetch = Fetch([torch.stack(found)])

    def numbers(self) -> Tensor:
        """The numbers in order of their names, float32 on the CPU; waits for their copy alone."""
        return self._fetch.tensors()[0]


class Beside:
    """A stream of a GPU beside the current one, for work that must not queue behind that.

    Nothing on a CPU, where all is done at once.
    """

    def __init__(self, device: torch.device) -> None:
        # Of higher priority: its small kernels go between the large ones of the other stream.
        is_cuda = device.type == "cuda"
        self.stream = torch.cuda.Stream(device, priority=-1) if is_cuda else None

    def entered(self) -> AbstractContextManager[Any]:
        """The context whose work is queued on this stream."""
        return nullcontext() if self.stream is None else torch.cuda.stream(self.stream)

    def give(self, *tensors: Tensor) -> None:
        """Let the current stream use what this one has made, after that."""
        if self.stream is not None:
            current = torch.cuda.current_stream(self.stream.device)
            current.wait_stream(self.stream)
            _lend(tensors, current)

    def mark(self) -> torch.cuda.Event | None:
        """An event after all that is queued on the current stream."""
        if self.stream is None:
            return None
        return torch.cuda.current_stream(self.stream.device).record_event()

    def take(self, ready: torch.cuda.Event | None, *tensors: Tensor) -> None:
        """Let this stream use what another has made, after the event."""
        if self.stream is not None and ready is not None:
            self.stream.wait_event(ready)
            _lend(tensors, self.stream)


def _lend(tensors: Sequence[Tensor], stream: torch.cuda.Stream) -> None:
    """Keep memory of another stream from being used again before this one is done with it."""
    for tensor in tensors:
        tensor.record_stream(stream)
