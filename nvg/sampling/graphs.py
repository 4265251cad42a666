"""A network's forward pass as one CUDA graph: the host starts one graph, not hundreds of kernels.

A graph reads and writes memory of its own, so inputs are copied into buffers and the output out of
one. All stages and flow steps have the same shapes and replay one graph. Blocks may be compiled:
what they start is recorded as well. (`torch.compile(mode="reduce-overhead")` would make a graph of
each compiled block, or else compile a whole network at once, which takes minutes.)

Nothing here was run on a GPU. So a graph is replayed only once its first replay has given what the
network gives; where it does not, or cannot be recorded, one line says so and the network runs on.
"""

import logging
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from nvg.generator.layers import OutputLinear
from nvg.generator.rope import Rotation
from nvg.precision import PRECISION, Numbers, Part, weights_cast_anew

log = logging.getLogger("nvg")

MOST = 4  # graphs of one network: batches of two sizes, each with and without guidance
SAME = 1e-2  # relative error of a first replay; the same kernels on the same numbers give 0

Forward = Callable[..., Tensor]
Shapes = tuple[tuple[torch.Size, torch.dtype], ...]


class Graph(Protocol):
    """Work of a device that is recorded once and started again as a whole."""

    def record(self, work: Callable[[], Tensor]) -> Tensor:
        """Record the work; what it returns is what every replay writes to."""

    def replay(self) -> None:
        """Start it again."""


class CudaGraph:
    """The graph of a GPU; all that share a `pool` of memory must be replayed on one stream."""

    def __init__(self, pool: Any = None) -> None:
        self.graph, self.pool = torch.cuda.CUDAGraph(), pool

    def record(self, work: Callable[[], Tensor]) -> Tensor:
        """Run the work once beside the current stream, where libraries may set up what they need,
        then record it."""
        current, beside = torch.cuda.current_stream(), torch.cuda.Stream()
        beside.wait_stream(current)
        with torch.cuda.stream(beside):
            work()
        current.wait_stream(beside)
        # Other threads, such as NCCL's watchdog, may go on using the device.
        with torch.cuda.graph(self.graph, pool=self.pool, capture_error_mode="thread_local"):
            return work()

    def replay(self) -> None:
        """Queue the whole graph on the current stream."""
        self.graph.replay()


@dataclass(frozen=True)
class _Recorded:
    """A graph, the buffers that it reads, and the one that it writes."""

    inputs: list[Tensor]
    output: Tensor
    graph: Graph

    def __call__(self, given: list[Tensor]) -> Tensor:
        for buffer, value in zip(self.inputs, given, strict=True):
            buffer.copy_(value)
        self.graph.replay()
        return self.output.clone()


class Graphed:
    """A forward pass that replays a graph for shapes which have come twice before.

    The first time warms up and the second is recorded, so a batch of a size that comes once costs
    nothing more. Inputs are tensors, and `angles`, two of them.
    """

    def __init__(self, forward: Forward, make_graph: Callable[[], Graph]) -> None:
        self.forward, self.make_graph = forward, make_graph
        self.seen: Counter[Shapes] = Counter()
        self.recorded: dict[Shapes, _Recorded] = {}
        self.refused = ""
        """Why none is recorded any more."""

    def __call__(self, *inputs: Tensor, angles: Rotation) -> Tensor:
        """The output, in memory that no later call writes to."""
        given = [*inputs, *angles]
        shapes = tuple((value.shape, value.dtype) for value in given)
        if shapes in self.recorded:
            return self.recorded[shapes](given)
        output = self.forward(*inputs, angles=angles)
        self.seen[shapes] += 1
        if self.seen[shapes] == 2 and len(self.recorded) < MOST and not self.refused:
            self._record(shapes, given, output)
        return output

    def _record(self, shapes: Shapes, given: list[Tensor], expected: Tensor) -> None:
        """Record a graph for these shapes, if its first replay gives what is expected."""
        held = [value.clone() for value in given]

        def work() -> Tensor:
            *inputs, cos_BTE, sin_BTE = held
            return self.forward(*inputs, angles=(cos_BTE, sin_BTE))

        try:
            graph = self.make_graph()
            with weights_cast_anew():
                made = _Recorded(held, graph.record(work), graph)
            _require_same(made(given), expected)
        except RuntimeError as error:
            first = error.__context__ or error  # what ended the recording, not that it ended
            self.refused = str(first).strip().splitlines()[0]
            log.warning(
                "CUDA graphs are not used, sampling goes on without (slower for small batches): %s",
                self.refused,
            )
        else:
            self.recorded[shapes] = made


def _require_same(found: Tensor, expected: Tensor) -> None:
    """RuntimeError where a replay gives other numbers; waits for the device, once a graph."""
    error, size = ((each.float().norm()) for each in (found - expected, expected))
    if not bool(error <= SAME * size):
        raise RuntimeError(f"a replay differs from the network by {float(error / size):.2g}")


def use_graphs(networks: list[nn.Module], device: torch.device) -> None:
    """Let the networks sample by graphs, in place; again for networks that were changed since."""
    pool = torch.cuda.graph_pool_handle() if device.type == "cuda" else None
    for network in networks:
        if pool is not None:
            cast_weights(network)
        drop_graphs(network)
        # Called by nn.Module as its method would be.
        vars(network)["forward"] = Graphed(network.forward, lambda: CudaGraph(pool))


def drop_graphs(network: nn.Module) -> None:
    """Let a network compute without graphs."""
    vars(network).pop("forward", None)


def cast_weights(network: nn.Module) -> None:
    """Cast to bfloat16, in place, what autocast would cast in every pass: the same products.

    Autocast keeps its casts until it ends; those that a graph made would lie in the graph's memory,
    and casting in every replay takes longer than the products of a small batch.
    """
    if PRECISION[Part.BLOCKS] is not Numbers.MIXED:
        return
    for layer in network.modules():
        if isinstance(layer, nn.Linear) and not isinstance(layer, OutputLinear):
            for name, weight in list(layer.named_parameters(recurse=False)):
                cast = weight.detach().to(torch.bfloat16)
                setattr(layer, name, nn.Parameter(cast, requires_grad=False))
