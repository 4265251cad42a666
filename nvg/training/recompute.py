"""Activation checkpointing: parts of a network compute again in the backward pass what they would
otherwise keep.

Gradients are the same to the bit: dropout draws the same numbers again. Names of weights stay.
"""

from collections.abc import Iterable
from functools import partial

from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint


def recompute_blocks(blocks: Iterable[nn.Module]) -> None:
    """Let each block keep its inputs only."""
    for block in blocks:
        # Around `forward`, hence inside the hooks of FSDP2, which gathers weights once for both.
        _replace_forward(block, partial(checkpoint, block.forward, use_reentrant=False))


def recompute_segments(layers: nn.Sequential, kind: type[nn.Module]) -> None:
    """Let a sequence keep the inputs of its segments only; one begins at each layer of a kind."""
    segments: list[list[nn.Module]] = [[]]
    for layer in layers:
        if isinstance(layer, kind):
            segments.append([])
        segments[-1].append(layer)

    def through(segment: list[nn.Module], values: Tensor) -> Tensor:
        for layer in segment:
            values = layer(values)
        return values

    def forward(values: Tensor) -> Tensor:
        for segment in segments:
            values = checkpoint(through, segment, values, use_reentrant=False)
        return values

    _replace_forward(layers, forward)


def _replace_forward(module: nn.Module, forward: object) -> None:
    setattr(module, "forward", forward)  # noqa: B010 - a method cannot be assigned to otherwise
