"""The processes that train together: one, or those that torchrun or Ray Train started."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard
from torch.distributed.tensor import DTensor, distribute_tensor
from torch.nn.parallel import DistributedDataParallel

TIMEOUT = timedelta(minutes=30)  # a store that is preloaded by one process keeps the others waiting


@dataclass(frozen=True)
class World:
    """This process among all: `rank` of `size`, and the device it computes on."""

    rank: int
    size: int
    device: torch.device

    @property
    def is_main(self) -> bool:
        """Whether this process writes files and draws bars."""
        return self.rank == 0

    def any(self, flag: bool) -> bool:
        """Whether any process says so; all get the same answer."""
        if self.size == 1:
            return flag
        told = torch.tensor(float(flag), device=self.device)
        dist.all_reduce(told, dist.ReduceOp.MAX)
        return bool(told)

    def mean(self, values: dict[str, float]) -> dict[str, float]:
        """The mean of each value over the processes."""
        if self.size == 1:
            return values
        told = torch.tensor(list(values.values()), dtype=torch.float32, device=self.device)
        dist.all_reduce(told)
        return dict(zip(values, (told / self.size).tolist(), strict=True))

    def wait(self) -> None:
        """Until all are here."""
        if self.size > 1:
            dist.barrier()


def default_device() -> torch.device:
    """The accelerator when there is one: this process's own, where several share a machine."""
    if not torch.cuda.is_available():
        return torch.device("cpu")
    return torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")) % torch.cuda.device_count())


@contextmanager
def joined() -> Iterator[World]:
    """The world that the environment describes; leaves it again if it was entered here."""
    device, entered = default_device(), False
    if device.type == "cuda":
        torch.cuda.set_device(device)
    if not dist.is_initialized() and int(os.environ.get("WORLD_SIZE", "1")) > 1:
        dist.init_process_group("nccl" if device.type == "cuda" else "gloo", timeout=TIMEOUT)
        entered = True
    try:
        if dist.is_initialized():
            yield World(dist.get_rank(), dist.get_world_size(), device)
        else:
            yield World(0, 1, device)
    finally:
        if entered:
            dist.destroy_process_group()


def replicate(module: nn.Module, world: World) -> nn.Module:
    """The module with gradients averaged over the processes, by DDP."""
    if world.size == 1:
        return module
    return DistributedDataParallel(module, gradient_as_bucket_view=True)


def shard(module: nn.Module, layers: list[nn.Module], world: World) -> nn.Module:
    """The module with its weights, gradients and optimiser state parted, by FSDP2, in place."""
    if world.size == 1:
        return module
    kind = torch.bfloat16 if world.device.type == "cuda" else torch.float32
    policy = MixedPrecisionPolicy(param_dtype=kind, reduce_dtype=torch.float32)
    mesh = init_device_mesh(world.device.type, (world.size,))
    for layer in layers:
        fully_shard(layer, mesh=mesh, mp_policy=policy)
    fully_shard(module, mesh=mesh, mp_policy=policy)
    return module


def whole(tensor: Tensor) -> Tensor:
    """A tensor with all its parts; every process must ask."""
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


def like(tensor: Tensor, model: Tensor) -> Tensor:
    """A whole tensor parted as `model` is."""
    if isinstance(model, DTensor):
        return distribute_tensor(tensor.to(model.device), model.device_mesh, model.placements)
    return tensor
