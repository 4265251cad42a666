"""What a computation would start on a GPU, counted without one: kernels, copies and waits.

Tensors are fake ones on `cuda`: they have shapes and dtypes, but no numbers.
"""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode

ATEN = torch.ops.aten
FREE = {"aten.detach.default", "aten._unsafe_view.default", "prim.device.default"}
WAITING = {"aten._local_scalar_dense.default", "aten.nonzero.default", "aten.item.default"}


class Launches(TorchDispatchMode):
    """Counts what is dispatched while it is entered."""

    def __init__(self) -> None:
        super().__init__()
        self.kernels: Counter[str] = Counter()
        self.copies = 0
        """From one device to another."""
        self.waits = 0
        """For a result of the device, or for a copy from or to memory that is not pinned."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        found = func(*args, **kwargs)
        name = str(func)
        if func.is_view or name in FREE:
            return found
        given = [each for each in (*args, *kwargs.values()) if isinstance(each, Tensor)]
        is_copy = name in ("aten._to_copy.default", "aten.copy_.default")
        if is_copy and isinstance(found, Tensor) and given[-1].device != found.device:
            self.copies += 1
            self.waits += not kwargs.get("non_blocking", False)
        elif name in WAITING and given[0].device.type == "cuda":
            self.waits += 1
        elif any(
            each.device.type == "cuda" for each in (*given, found) if isinstance(each, Tensor)
        ):
            self.kernels[name] += 1
        return found

    @property
    def count(self) -> int:
        """All kernels."""
        return self.kernels.total()


@contextmanager
def fake_cuda() -> Iterator[None]:
    """Fake tensors on `cuda`, where autocast works and attention is one fused kernel."""

    def attention(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        return ATEN._scaled_dot_product_flash_attention(query, key, value)[0]

    with pytest.MonkeyPatch.context() as patch, FakeTensorMode(allow_non_fake_inputs=True):
        patch.setattr(torch.cuda.amp.common, "amp_definitely_not_available", lambda: False)
        patch.setattr(torch.cuda, "is_bf16_supported", lambda *_: True)
        patch.setattr(torch.nn.functional, "scaled_dot_product_attention", attention)
        yield
