"""What may be given instead of sampled (Sec. 3.2, B.4): structure, content, all but a region.

Legend: B image of a batch, N position, n cluster of a stage, T token.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

import torch
from torch import Tensor

from nvg.errors import InputError
from nvg.geometry import Geometry, labels
from nvg.sampling.structure import KnownPaths
from nvg.sequence import Sequences

KEPT_FRACTION = 0.5  # of a cluster's positions that must be kept for it to keep its token


class Condition(StrEnum):
    """What the first stages take from a reference (the two rows of Fig. 8)."""

    STRUCTURE = "structure"
    ALL = "all"
    """Structure and content."""


@dataclass(frozen=True)
class Control:
    """Parts of a batch of images that are given; by default nothing is."""

    leaves: Tensor
    """[B, N], int64; a picture's may be arbitrary below its last given stage."""
    structure_stages: int = 0
    """How many first stages take their map from `leaves`."""
    content: Tensor | None = None
    """[B, 2N-1]."""
    content_stages: frozenset[int] = frozenset()
    """The stages that take their tokens from `content`."""
    region: Tensor | None = None
    """Positions [B, N] that keep their path and their tokens; the others are sampled."""

    def structure_map(self, stage: int, K: int) -> Tensor | None:
        """The structure map [B, N] of a stage, where it is given."""
        return labels(self.leaves, stage, K) if stage < self.structure_stages else None

    @property
    def known(self) -> KnownPaths | None:
        """Positions whose path is given."""
        return None if self.region is None else KnownPaths(self.region, self.leaves)

    def tokens(self, sampled_Bn: Tensor, structure_BN: Tensor, stage: int, K: int) -> Tensor:
        """The tokens of a stage [B, n]: given ones in place of sampled ones."""
        if self.content is None:
            return sampled_Bn
        start = (1 << stage) - 1
        given_Bn = self.content[:, start : 2 * start + 1]
        if stage in self.content_stages:
            return given_Bn
        if self.region is None:
            return sampled_Bn
        # A cluster's positions that are kept come from one cluster of the reference.
        own_BN = given_Bn.gather(1, labels(self.leaves, stage, K))
        order_BN = structure_BN.argsort(dim=1, stable=True)
        kept_Bnm, own_Bnm = (
            each.gather(1, order_BN).unflatten(1, (1 << stage, -1))
            for each in (self.region, own_BN)
        )
        first_Bn1 = kept_Bnm.byte().argmax(-1, keepdim=True)
        fraction_Bn = kept_Bnm.float().mean(-1)
        own_Bn = own_Bnm.gather(-1, first_Bn1)[..., 0]
        return torch.where(fraction_Bn >= KEPT_FRACTION, own_Bn, sampled_Bn)

    def to(self, device: torch.device) -> "Control":
        """The control on a device."""
        return self._each(lambda given: given.to(device))

    def part(self, start: int, stop: int) -> "Control":
        """The control of these images."""
        return self._each(lambda given: given[start:stop])

    def _each(self, change: Callable[[Tensor], Tensor]) -> "Control":
        tensors: dict[str, Any] = {
            n: change(v) for n, v in vars(self).items() if isinstance(v, Tensor)
        }
        return replace(self, **tensors)


def condition_on_stages(
    reference: Sequences, geometry: Geometry, what: Condition, stages: int, count: int
) -> Control:
    """`count` images that share the first `stages` stages of one reference.

    InputError when there are fewer stages.
    """
    return keep_stages(reference, geometry, [what] * stages, count)


def keep_stages(
    reference: Sequences, geometry: Geometry, kept: Sequence[Condition], count: int
) -> Control:
    """`count` images that share with a reference what `kept` says of each first stage.

    Later stages are sampled. InputError when there are fewer stages.
    """
    require_stages(len(kept), geometry)
    leaves, content = _repeated(reference, geometry, count)
    whole = frozenset(stage for stage, what in enumerate(kept) if what is Condition.ALL)
    return Control(leaves, len(kept), content, whole)


def edit_region(reference: Sequences, geometry: Geometry, edited_N: Tensor, count: int) -> Control:
    """`count` images that keep one reference but where `edited` [N] is true.

    InputError when that is everywhere or nowhere.
    """
    if bool(edited_N.all()) or not bool(edited_N.any()):
        which = "every" if bool(edited_N.all()) else "no"
        raise InputError(f"the mask marks {which} position: mark the region to resample in white")
    leaves, content = _repeated(reference, geometry, count)
    region = (~edited_N).to(leaves.device).expand(count, -1)
    return Control(leaves, content=content, region=region)


def require_stages(stages: int, geometry: Geometry) -> None:
    """InputError unless that many stages exist."""
    if not 1 <= stages <= geometry.stages:
        raise InputError(
            f"{stages} stages cannot be kept: a grid of {geometry.grid}x{geometry.grid} has "
            f"1..{geometry.stages}"
        )


def _repeated(reference: Sequences, geometry: Geometry, count: int) -> tuple[Tensor, Tensor]:
    """Leaves and content of a reference, as many times."""
    if len(reference) != 1:
        raise ValueError(f"a reference is one image, not {len(reference)}")
    positions = reference.leaves.shape[-1]
    if positions != geometry.positions:
        raise InputError(
            f"the reference has {positions} positions, the generators {geometry.positions}: use "
            "one of the same grid"
        )
    leaves, content = (
        part.long().expand(count, -1) for part in (reference.leaves, reference.content)
    )
    return leaves, content
