"""A GPU that is not there: which copies and waits a training step would ask of one.

Tensors are fakes of torch's that know device, dtype and shape. Autograd's engine would look for the
device itself, so gradients are zeros here; the operations of a step, gradients included, are
counted on the CPU.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

GPU = torch.device("cuda")
WAITING = {"nonzero", "_unique2", "unique_dim", "masked_select", "_local_scalar_dense", "equal"}


class Dispatched(TorchDispatchMode):
    """Counts operations that compute, copies to a GPU, and what waits for it."""

    def __init__(self) -> None:
        super().__init__()
        self.clear()

    def clear(self) -> None:
        """Count from 0."""
        self.operations = self.copies = self.blocking = self.waits = self.read = 0

    def __str__(self) -> str:
        return f"{self.copies} copies, {self.blocking} of them blocking, {self.waits} waits"

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        before = _devices((args, kwargs))
        name = func.name().partition("::")[2].partition(".")[0]
        self.waits += name in WAITING and "cuda" in before
        if name == "_local_scalar_dense" and isinstance(args[0], FakeTensor):
            return self.number(args[0].dtype)
        found = func(*args, **kwargs)
        after = _devices(found)
        self.operations += not (func.is_view or func.name().startswith("prim::"))
        if name == "_to_copy" and (before, after) == ({"cpu"}, {"cuda"}):
            self.copied(bool(kwargs.get("non_blocking")))
        elif name == "copy_" and [each.device.type for each in args[:2]] == ["cuda", "cpu"]:
            self.copied(len(args) > 2 and args[2])
        elif name == "_to_copy" and (before, after) == ({"cuda"}, {"cpu"}):
            self.waits += 1
        return found

    def number(self, kind: torch.dtype) -> float:
        """What a fake holds: of integers, which are stages, one after the other of nine."""
        self.read += 1
        return 1.0 if kind.is_floating_point or kind is torch.bool else self.read % 9

    def copied(self, is_queued: bool) -> None:
        """Count a copy to the GPU."""
        self.copies += 1
        self.blocking += not is_queued


def _devices(values: Any) -> set[str]:
    return {leaf.device.type for leaf in tree_leaves(values) if isinstance(leaf, Tensor)}


@contextmanager
def fake_gpu(patch: pytest.MonkeyPatch, modules: list[nn.Module]) -> Iterator[Dispatched]:
    """Count what happens inside; parameters of `modules`, which may be filled there, get gradients.

    Nothing is compiled.
    """
    counted, new_tensor = Dispatched(), torch.tensor

    def backward(loss: Tensor, *args: Any, **options: Any) -> None:
        for parameter in (p for module in modules for p in module.parameters()):
            parameter.grad = torch.zeros_like(parameter) if parameter.requires_grad else None

    def gradients(loss: Tensor, inputs: Tensor, **options: Any) -> tuple[Tensor]:
        return (torch.zeros_like(inputs),)

    def tensor(data: Any, **options: Any) -> Tensor:
        if torch.device(options.get("device") or "cpu").type == "cuda":
            counted.copied(False)
        return new_tensor(data, **options)

    patch.setattr(Tensor, "backward", backward)
    patch.setattr(torch.autograd, "grad", gradients)
    patch.setattr(torch, "tensor", tensor)
    patch.setattr(nn.Module, "to", _moved)
    patch.setattr(nn.Module, "compile", lambda self, *args, **options: None)
    with FakeTensorMode(allow_non_fake_inputs=True), counted:
        yield counted


def _moved(module: nn.Module, device: torch.device) -> nn.Module:
    """What `nn.Module.to` does, which cannot exchange fakes."""
    for part in module.modules():
        for name, parameter in part._parameters.items():
            if parameter is not None:
                there = parameter.detach().to(device)
                part._parameters[name] = nn.Parameter(there, parameter.requires_grad)
        for name, buffer in part._buffers.items():
            part._buffers[name] = None if buffer is None else buffer.to(device)
    return module
