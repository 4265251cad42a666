"""The processes that train together: one, or those that torchrun or Ray Train started."""

import logging
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed.distributed_c10d import PrefixStore
from torch.distributed.rendezvous import rendezvous

from nvg.errors import ElsewhereError, InputError, WorkError, exit_code

log = logging.getLogger("nvg")

Value = TypeVar("Value")

MINUTES = 30.0  # a store that is preloaded by one process keeps the others waiting
MINUTES_NAME = "NVG_TIMEOUT_MINUTES"
JOIN_SECONDS = 180.0  # for processes that a user or Slurm starts one by one
LOST = ("Connection closed by peer", "Connection reset by peer", "Timed out", "timed out", "NCCL")
BUCKET_BYTES = 64 << 20  # of one message: large enough for the wire, small beside the gradients


@dataclass(frozen=True)
class World:
    """This process among all: `rank` of `size`, and the device it computes on."""

    rank: int
    size: int
    device: torch.device
    host: Any = None
    """Group for objects in main memory, where the default one would wait for the devices."""

    @property
    def is_main(self) -> bool:
        """Whether this process writes files and draws bars."""
        return self.rank == 0

    def any(self, flag: bool) -> bool:
        """Whether the flag is set in any process; all get the same answer."""
        return bool(self.highest([flag])[0])

    def highest(self, values: list[int]) -> list[int]:
        """The highest of each value over the processes; all get the same."""
        if self.size == 1:
            return values
        reduced = torch.tensor(values, dtype=torch.int64, device=self.device)
        dist.all_reduce(reduced, dist.ReduceOp.MAX)
        return [int(value) for value in reduced.tolist()]

    def mean(self, values: dict[str, float]) -> dict[str, float]:
        """The mean of each value over the processes."""
        if self.size == 1:
            return values
        reduced = torch.tensor(list(values.values()), dtype=torch.float32, device=self.device)
        dist.all_reduce(reduced)
        return dict(zip(values, (reduced / self.size).tolist(), strict=True))

    def gather(self, value: Value) -> list[Value]:
        """The value of each process, in order of rank; all get the same list."""
        if self.size == 1:
            return [value]
        found: list[Any] = [None] * self.size
        dist.all_gather_object(found, value, group=self.host)
        return found

    def collect(self, value: Value) -> list[Value]:
        """The value of each process, in order of rank, in the main process; none in the others."""
        if self.size == 1:
            return [value]
        found: list[Any] | None = [None] * self.size if self.is_main else None
        dist.gather_object(value, found, group=self.host)
        return found or []

    def agree(self, value: Value) -> Value:
        """The main process's value, in all."""
        if self.size == 1:
            return value
        sent = [value]
        dist.broadcast_object_list(sent, group=self.host)
        return sent[0]

    @torch.no_grad()
    def sum(self, tensors: Iterable[Tensor]) -> None:
        """Add up each tensor over the processes, in place; all pass the same shapes in one order.

        In few messages, all under way at once; nothing waits for the device.
        """
        if self.size == 1:
            return
        under_way = []
        for bucket in _buckets(tensors):
            flat = torch.cat([tensor.reshape(-1) for tensor in bucket])
            under_way.append((bucket, flat, dist.all_reduce(flat, async_op=True)))
        for bucket, flat, work in under_way:
            work.wait()
            parts = flat.split([tensor.numel() for tensor in bucket])
            for tensor, part in zip(bucket, parts, strict=True):
                tensor.copy_(part.view_as(tensor))

    @torch.no_grad()
    def spread(self, tensors: Iterable[Tensor]) -> None:
        """Give every process the tensors of the main one, in place."""
        if self.size > 1:
            for tensor in tensors:
                dist.broadcast(tensor, 0)

    @contextmanager
    def agreed(self) -> Iterator[None]:
        """An InputError or WorkError of any process inside ends all of them together; collective.

        The first that has one raises it, the others raise ElsewhereError: it is told once, and
        nobody waits for a process that was refused.
        """
        failed: InputError | WorkError | None = None
        try:
            yield
        except (InputError, WorkError) as error:
            failed = error
        told = self.gather((str(failed), exit_code(failed)) if failed else None)
        first = next((rank for rank, each in enumerate(told) if each), None)
        if failed and first == self.rank:
            raise failed
        if first is not None:
            raise ElsewhereError(*(told[first] or ("", 1))) from failed

    def wait(self) -> None:
        """Wait until every process is here."""
        if self.size > 1:
            dist.barrier()


def _buckets(tensors: Iterable[Tensor]) -> Iterator[list[Tensor]]:
    """Tensors of one dtype, in order, up to BUCKET_BYTES together."""
    by_dtype: dict[torch.dtype, list[Tensor]] = {}
    for tensor in tensors:
        waiting = by_dtype.setdefault(tensor.dtype, [])
        if waiting and sum(t.nbytes for t in waiting) + tensor.nbytes > BUCKET_BYTES:
            yield by_dtype.pop(tensor.dtype)
            waiting = by_dtype.setdefault(tensor.dtype, [])
        waiting.append(tensor)
    yield from by_dtype.values()


def timeout() -> timedelta:
    """How long a process waits for the others, NVG_TIMEOUT_MINUTES; InputError for no such time."""
    text = os.environ.get(MINUTES_NAME) or str(MINUTES)
    try:
        found = timedelta(minutes=float(text))
    except (ValueError, OverflowError):
        found = timedelta(0)
    if found <= timedelta(0):
        raise InputError(f"{MINUTES_NAME} must be a number of minutes above 0, not {text}")
    return found


def default_device() -> torch.device:
    """The accelerator when there is one: this process's own, where several share a machine."""
    if not torch.cuda.is_available():
        return torch.device("cpu")
    return torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")) % torch.cuda.device_count())


def process_variables() -> dict[str, str]:
    """What a launcher of several processes has set in the environment."""
    names = ("WORLD_SIZE", "RANK", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")
    return {name: os.environ[name] for name in names if name in os.environ}


@contextmanager
def joined() -> Iterator[World]:
    """The world of the environment variables; a process group made here is destroyed after."""
    device, entered = default_device(), False
    if device.type == "cuda":
        torch.cuda.set_device(device)
    if not dist.is_initialized() and int(os.environ.get("WORLD_SIZE", "1")) > 1:
        _tell_of_others(process_variables())
        _enter("nccl" if device.type == "cuda" else "gloo")
        entered = True
    try:
        if dist.is_initialized():
            on_gpu = device.type == "cuda" and dist.get_world_size() > 1
            host = dist.new_group(backend="gloo", timeout=timeout()) if on_gpu else None
            yield World(dist.get_rank(), dist.get_world_size(), device, host)
        else:
            yield World(0, 1, device)
    except RuntimeError as error:
        has_others = dist.is_initialized() and dist.get_world_size() > 1
        is_lost = has_others and any(word in str(error) for word in LOST)
        if isinstance(error, WorkError) or not is_lost:
            raise
        line = str(error).strip().splitlines()[0]
        raise WorkError(
            f"another process ended, or did not answer within {timeout().total_seconds() / 60:g} "
            f"minutes ({MINUTES_NAME}): see its line, then go on with --resume ({line})"
        ) from error
    finally:
        if entered:
            dist.destroy_process_group()


def _enter(backend: str) -> None:
    """Make the process group that the environment describes.

    Under a name of its own after each restart by torchrun, whose store still has the addresses of
    the processes before: one that is restarted early would call those. InputError where the others
    do not come within JOIN_SECONDS and torchrun has not started them.
    """
    is_launched = "TORCHELASTIC_RUN_ID" in os.environ
    patience = timeout() if is_launched else timedelta(seconds=JOIN_SECONDS)
    try:
        store, rank, size = next(rendezvous("env://", timeout=patience))
    except RuntimeError:
        if is_launched:
            raise
        given = " ".join(f"{name}={value}" for name, value in process_variables().items())
        raise InputError(
            f"the other processes did not come within {JOIN_SECONDS:g} s ({given} in the "
            "environment): unset WORLD_SIZE for one process, or start all of them"
        ) from None
    attempt = os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")
    named = PrefixStore(f"attempt-{attempt}", store)
    dist.init_process_group(backend, timeout=timeout(), store=named, rank=rank, world_size=size)


def _tell_of_others(given: dict[str, str]) -> None:
    """Say that other processes are waited for; InputError where they could not be found."""
    if "TORCHELASTIC_RUN_ID" in os.environ:  # torchrun has started them
        return
    size = given["WORLD_SIZE"]
    needed = [name for name in ("RANK", "MASTER_ADDR", "MASTER_PORT") if name not in given]
    if needed:
        raise InputError(
            f"WORLD_SIZE={size} stands in the environment, and no {', '.join(needed)}: unset it "
            "for one process, or start several with torchrun"
        )
    log.info(
        "process %s of %s (WORLD_SIZE) waits for the others at %s:%s; for one process alone, unset "
        "WORLD_SIZE",
        *(given[name] for name in ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")),
    )


def full_tensor(tensor: Tensor) -> Tensor:
    """A sharded tensor gathered; collective: every process must call it."""
    if not dist.is_initialized():  # the import takes long
        return tensor
    from torch.distributed.tensor import DTensor

    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


def reshard_like(tensor: Tensor, sharded: Tensor) -> Tensor:
    """A full tensor sharded as another one is, on its device."""
    if not dist.is_initialized():
        return tensor
    from torch.distributed.tensor import DTensor, distribute_tensor

    if isinstance(sharded, DTensor):
        return distribute_tensor(tensor.to(sharded.device), sharded.device_mesh, sharded.placements)
    return tensor
