"""Geometry of the hierarchy: stages, leaf labels, structure maps and bit embedding (Eq. 6, 7).

Legend: B image of a batch, N position, S stage, K structure channel, T token.

One leaf label per position holds the structure map of every stage: the labels are a permutation of
0..N-1 whose K bits, most significant first, say on which side of each split a position lies.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

if TYPE_CHECKING:  # reading a store needs no torch
    import torch
    from torch import Tensor

Ints = TypeVar("Ints", "Tensor", "np.ndarray[Any, Any]")


@dataclass(frozen=True)
class Geometry:
    """Sizes that follow from a square latent grid of `grid` x `grid` positions."""

    grid: int

    def __post_init__(self) -> None:
        if self.grid < 2 or self.grid & (self.grid - 1):
            raise ValueError(f"grid must be a power of two of at least 2, not {self.grid}")

    @property
    def positions(self) -> int:
        """L, the latent positions of one image."""
        return self.grid * self.grid

    @property
    def K(self) -> int:
        """The last stage, log2 L; also the number of structure channels."""
        return last_stage(self.positions)

    @property
    def stages(self) -> int:
        """How many stages there are: 0..K."""
        return self.K + 1

    @property
    def tokens(self) -> int:
        """Content tokens of one image over all stages, 2 L - 1."""
        return 2 * self.positions - 1

    @property
    def leaf_dtype(self) -> "torch.dtype":
        """The smallest dtype that holds a leaf label."""
        return leaf_dtype(self.positions)

    @property
    def leaf_name(self) -> str:
        """The same dtype as numpy and Zarr call it."""
        return leaf_name(self.positions)

    def clusters(self, stage: int) -> int:
        """How many clusters, hence unique tokens, stage `stage` has: 2^stage."""
        return 1 << stage

    def stage_slice(self, stage: int) -> slice:
        """Where the tokens of `stage` lie in the content sequence."""
        return slice((1 << stage) - 1, (2 << stage) - 1)


def last_stage(positions: int) -> int:
    """K = log2 L; ValueError unless L is a power of two of at least 2."""
    if positions < 2 or positions & (positions - 1):
        raise ValueError(f"positions must be a power of two of at least 2, not {positions}")
    return positions.bit_length() - 1


def leaf_name(positions: int) -> str:
    """uint8 while the labels 0..positions-1 fit one byte, else uint16."""
    return "uint8" if positions <= 256 else "uint16"


def leaf_dtype(positions: int) -> "torch.dtype":
    """The torch dtype of that name."""
    import torch

    dtype: torch.dtype = getattr(torch, leaf_name(positions))
    return dtype


def as_int64(values: Ints) -> Ints:
    """`values` as int64: unsigned 16-bit tensors support few operations."""
    if hasattr(values, "long"):  # a tensor
        return values.long()
    return np.asarray(values).astype(np.int64)  # type: ignore[return-value]  # Ints is an array here


def labels(leaves: Ints, stage: int, K: int) -> Ints:
    """Structure map of `stage` from leaf labels [..., N]: values 0..2^stage-1, int64."""
    return as_int64(leaves) >> (K - stage)


def bit_embedding(labels: Ints, stage: int, K: int) -> Ints:
    """Eq. 6: labels [...] of `stage` -> [..., K] in {0, 1, 2}; 0 and 2 are bits, 1 is padding."""
    values = as_int64(labels)
    channels = [2 * ((values >> (stage - 1 - j)) & 1) for j in range(stage)]
    channels += [values * 0 + 1] * (K - stage)
    if isinstance(values, np.ndarray):
        return np.stack(channels, axis=-1)
    import torch

    return torch.stack(channels, dim=-1)


def mixed_bit_embedding(leaves: "Tensor", stages: "Tensor", K: int) -> "Tensor":
    """Eq. 6 for a batch where image b is at stage stages[b]: leaves [B, N] -> [B, N, K] int64."""
    import torch

    bits = bit_embedding(as_int64(leaves), K, K)
    is_bit = torch.arange(K, device=bits.device) < stages.unsqueeze(1)
    return torch.where(is_bit.unsqueeze(1), bits, 1)


def label_from_bits(bits: Ints, stage: int) -> Ints:
    """Eq. 7: bit embedding [..., K] -> labels [...] of `stage`, int64."""
    values = as_int64(bits)
    result = values[..., 0] * 0
    for j in range(stage):
        result = result + ((values[..., j] >> 1) << (stage - 1 - j))
    return result


def leaf_order(leaves: "Tensor") -> "Tensor":
    """Inverse of the leaf permutation: entry l is the position with leaf label l. [..., N] int64.

    In this order the clusters of every stage are consecutive runs of equal length.
    """
    import torch

    values = as_int64(leaves)
    positions = torch.arange(values.shape[-1], device=values.device).expand_as(values)
    return torch.empty_like(values).scatter_(-1, values, positions)


def canonical(leaves: "Tensor") -> "Tensor":
    """Reorder children so that the one holding the smallest position is 2j. [..., N] -> [..., N].

    Our choice where the paper leaves child order open; it makes the map of a hierarchy unique.
    """
    import torch

    order = leaf_order(leaves)
    shape, positions = order.shape, order.shape[-1]
    half = 1
    while half < positions:
        pairs = order.reshape(*shape[:-1], positions // (2 * half), 2, half)
        swap = pairs[..., 0, :1] > pairs[..., 1, :1]
        order = torch.where(swap[..., None, :], pairs.flip(-2), pairs).reshape(shape)
        half *= 2
    return leaf_order(order).to(leaves.dtype)
