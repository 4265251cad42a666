"""How processes share a network in training: replicated by DDP, or sharded by FSDP2.

Sharded over all processes, or within each node and replicated between the nodes (HSDP): layers are
then gathered over the links inside a node, and only gradients cross the network between nodes.
"""

import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import TYPE_CHECKING

import torch
from torch import nn

from nvg.distributed import World
from nvg.errors import InputError
from nvg.training.config import ShardOver

if TYPE_CHECKING:
    from torch.distributed.device_mesh import DeviceMesh


def replicate(module: nn.Module, world: World) -> nn.Module:
    """The module with gradients averaged over the processes, by DDP."""
    if world.size == 1:
        return module
    from torch.nn.parallel import DistributedDataParallel

    return DistributedDataParallel(module, gradient_as_bucket_view=True)


def shard(
    module: nn.Module,
    layers: list[nn.Module],
    world: World,
    over: ShardOver = ShardOver.AUTO,
    kind: torch.dtype | None = None,
) -> None:
    """Shard weights, gradients and optimizer state over processes, by FSDP2, in place; collective.

    The layers' weights are gathered as `kind`, by default bfloat16 on a GPU; all else is computed
    in the precision that one process has under the same autocast.
    """
    if world.size == 1:
        return
    from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard

    if kind is None:
        kind = torch.bfloat16 if world.device.type == "cuda" else torch.float32
    mesh = mesh_of(world, over)
    # Left to itself FSDP2 would cast what goes into a layer too: the residual stream, the condition
    # and the angles of the rotary embedding. What is outside the layers makes the stream, so it
    # stays in float32; autocast casts what its matrix products take.
    inside, outside = (
        MixedPrecisionPolicy(each, reduce_dtype=torch.float32, cast_forward_inputs=False)
        for each in (kind, torch.float32)
    )
    for layer in layers:
        fully_shard(layer, mesh=mesh, mp_policy=inside)
    fully_shard(module, mesh=mesh, mp_policy=outside)


def mesh_of(world: World, over: ShardOver) -> "DeviceMesh":
    """The processes as [node, process of a node] where shards stay in a node, else in one row.

    Collective. InputError where a node is asked for and nodes are not alike.
    """
    from torch.distributed.device_mesh import init_device_mesh

    device = world.device.type
    own = 0 if over is ShardOver.ALL else processes_of_a_node(world)
    if over is ShardOver.NODE and own < 2:
        raise InputError(
            'shard_over = "node" needs the same number of processes on every node, two or more '
            '(LOCAL_WORLD_SIZE): start as many on each, or set shard_over = "all"'
        )
    if own < 2 or own == world.size:
        return init_device_mesh(device, (world.size,))
    names = ("replicate", "shard")
    return init_device_mesh(device, (world.size // own, own), mesh_dim_names=names)


def processes_of_a_node(world: World) -> int:
    """How many processes every node has, where all have as many and count on from the node before.

    0 where they do not, or no launcher says so. Collective.
    """
    names = ("LOCAL_RANK", "LOCAL_WORLD_SIZE")
    told = world.gather(tuple(int(os.environ.get(name, "0")) for name in names))
    own = told[0][1]
    is_regular = own and all(each == (rank % own, own) for rank, each in enumerate(told))
    return own if is_regular and world.size % own == 0 else 0


@contextmanager
def unreduced(module: nn.Module) -> Iterator[None]:
    """Gradients of a backward pass stay in this process, whole, until one outside reduces all."""
    # FSDP2 gives the module methods of its own, DDP wraps it.
    switch: Callable[[bool], None] | None = getattr(module, "set_requires_gradient_sync", None)
    if switch is None:
        apart: Callable[[], AbstractContextManager[None]] = getattr(module, "no_sync", nullcontext)
        with apart():
            yield
        return
    switch(False)
    try:
        yield
    finally:
        switch(True)
