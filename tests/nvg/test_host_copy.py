"""One copy to the device, and numbers that are read late."""

import pytest
import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode

from nvg.host_copy import Read, sent

META = torch.device("meta")


def mixed() -> list[Tensor]:
    """Tensors of every dtype that a batch has, of sizes that do not align."""
    return [
        torch.arange(5, dtype=torch.uint8),
        torch.arange(6).view(2, 3).to(torch.uint16),
        torch.tensor([True, False, True]),
        torch.randn(3, 1, 7),
        torch.tensor(2.5),
        torch.zeros(0, 4, dtype=torch.int64),
    ]


def test_a_cpu_gets_the_tensors_themselves() -> None:
    """Nothing is copied where there is nowhere to send it."""
    tensors = mixed()
    found = sent(tensors, torch.device("cpu"))
    assert all(one is other for one, other in zip(found, tensors, strict=True))


class Loopback(TorchDispatchMode):
    """Counts copies to the meta device and answers them with a copy on the CPU."""

    copies = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
        kwargs = kwargs or {}
        if func is torch.ops.aten._to_copy.default and kwargs.get("device") == META:
            self.copies += 1
            kwargs = {**kwargs, "device": torch.device("cpu")}
        return func(*args, **kwargs)


def test_another_device_gets_them_in_one_copy() -> None:
    """Values, dtypes and shapes come through the one buffer."""
    tensors = mixed()
    with Loopback() as counted:
        found = sent(tensors, META)
    assert counted.copies == 1
    for one, other in zip(found, tensors, strict=True):
        assert (one.dtype, one.shape) == (other.dtype, other.shape)
        assert torch.equal(one, other)


def test_a_gpu_gets_the_same_shapes() -> None:
    """On a stand-in for a GPU: views of one buffer there."""
    with FakeTensorMode(allow_non_fake_inputs=True):
        found = sent(mixed(), torch.device("cuda"))
    assert [each.shape for each in found] == [each.shape for each in mixed()]
    assert {each.device.type for each in found} == {"cuda"}
    assert len({each.untyped_storage()._cdata for each in found}) == 1


def test_numbers_are_those_of_the_moment() -> None:
    """Of any dtype and in order; what happens to the tensors later changes nothing."""
    values = {"loss": torch.tensor(1.5), "count": torch.tensor(3), "norm": torch.tensor([2.0])}
    read = Read(values)
    values["loss"].fill_(9)
    assert read.names == ["loss", "count", "norm"]
    assert read.numbers().tolist() == [1.5, 3.0, 2.0]


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_a_gpu_is_not_waited_for() -> None:
    """Both ways of a copy are queued: torch raises where it would wait."""
    device = torch.device("cuda")
    torch.ones(1, device=device).sum().item()
    torch.cuda.set_sync_debug_mode("error")
    try:
        tensors = sent(mixed(), device)
        read = Read({"sum": tensors[3].sum()})
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert float(read.numbers()[0]) == pytest.approx(float(tensors[3].sum()), rel=1e-4)
