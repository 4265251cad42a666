"""The record that travels: leaves, content and label of a batch of images.

Legend: B image of a batch, N position, T token, P component of a stored feature.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from nvg.geometry import Geometry, as_int64


@dataclass(frozen=True)
class Sequences:
    """A batch of tokenized images, as the store and the loader hand it on."""

    leaves: Tensor
    """Leaf label per position [B, N], uint8 or uint16: a permutation of 0..N-1 in each row."""
    content: Tensor
    """Token ids [B, 2N-1], stages 0..K in order."""
    label: Tensor
    """Class id per image [B], -1 for none."""
    row: Tensor | None = None
    """Row of the store per image [B], where it is known; never moved to a device."""

    features: Tensor | None = None
    """Coded features of the image at each position [B, N, P], uint8, where they are asked for."""

    def __len__(self) -> int:
        return len(self.label)

    @staticmethod
    def join(parts: "list[Sequences]") -> "Sequences":
        """One batch of several that have the same parts."""
        names = [name for name, value in vars(parts[0]).items() if value is not None]
        return Sequences(
            **{name: torch.cat([getattr(part, name) for part in parts]) for name in names}
        )

    def take(self, rows: Tensor) -> "Sequences":
        """Some of its images, by their number in the batch."""
        parts = {name: value for name, value in vars(self).items() if value is not None}
        return Sequences(**{name: value[rows.to(value.device)] for name, value in parts.items()})

    def repeat(self, count: int) -> "Sequences":
        """Every image so many times, one copy after the other."""
        if count == 1:
            return self
        parts = {name: value for name, value in vars(self).items() if value is not None}
        return Sequences(
            **{name: value.repeat_interleave(count, 0) for name, value in parts.items()}
        )

    def check(self, geometry: Geometry) -> "Sequences":
        """Itself; ValueError naming both shapes where a part does not fit the geometry."""
        batch = len(self.label)
        wanted = {"leaves": (batch, geometry.positions), "content": (batch, geometry.tokens)}
        for name, shape in wanted.items():
            found = tuple(getattr(self, name).shape)
            if found != shape:
                raise ValueError(f"{name} has shape {found}, grid {geometry.grid} needs {shape}")
        return self

    def to(self, device: torch.device) -> "Sequences":
        """The batch on `device`; what models index with becomes int64."""
        parts = (self.leaves, self.content, self.label)
        leaves, content, label = (as_int64(p.to(device, non_blocking=True)) for p in parts)
        features = self.features
        if features is not None:
            features = features.to(device, non_blocking=True)
        return Sequences(leaves, content, label, self.row, features)
