"""What autograd keeps of a forward pass, counted tensor by tensor, on this CPU or as on a GPU."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.multiprocessing.reductions import StorageWeakRef


def kept_bytes(module: nn.Module, forward: Callable[[], object]) -> int:
    """Bytes of all storages kept for the backward pass but parameters and buffers, each once."""
    own = [*module.parameters(), *module.buffers()]
    seen = {StorageWeakRef(tensor.untyped_storage()) for tensor in own}
    kept = []

    def pack(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if StorageWeakRef(storage) not in seen:
            seen.add(StorageWeakRef(storage))
            kept.append(storage)
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        found = forward()
    total = sum(storage.nbytes() for storage in kept)
    del found
    return total


def kept_of_one(module: nn.Module, forward: Callable[[int], object], images: int = 2) -> float:
    """Bytes kept of one image more, so that what is kept once for the batch is not counted."""
    few, many = (kept_bytes(module, lambda n=n: forward(n)) for n in (images, 2 * images))  # type: ignore[misc]
    return (many - few) / images


@contextmanager
def as_on_a_gpu(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Tensors without content on a GPU that need not be there, under bfloat16 autocast.

    Attention is the flash kernel's, as it is chosen there.
    """

    def flash(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        halves = [tensor.to(torch.bfloat16) for tensor in (query, key, value)]
        mixed: Tensor = torch.ops.aten._scaled_dot_product_flash_attention(*halves)[0]
        return mixed

    monkeypatch.setattr(F, "scaled_dot_product_attention", flash)
    torch.set_autocast_dtype("cuda", torch.bfloat16)
    try:
        with FakeTensorMode(), torch.device("cuda"):
            torch.set_autocast_enabled("cuda", True)
            yield
    finally:
        torch.set_autocast_enabled("cuda", False)
