"""VAR's residual quantizer, scales instead of clusters: the baseline NVG is compared with.

Legend: B image of a batch, N position, n cluster of a stage, C channel, D row or column of pixels
or of the grid.
"""

from dataclasses import dataclass

import torch.nn.functional as F
from einops import rearrange
from torch import Tensor

from nvg.choices import PhiCount, PhiForm
from nvg.errors import InputError
from nvg.quantizer.residual import ResidualQuantizer

# Sides of the scales by grid. 16 are VAR's own (680 tokens against NVG's 511); the others are cut
# so that the tokens come closest to NVG's: 130 against 127, 30 against 31.
SIDES = {
    2: (1, 2),
    4: (1, 2, 3, 4),
    8: (1, 2, 3, 4, 6, 8),
    16: (1, 2, 3, 4, 5, 6, 8, 10, 13, 16),
}


@dataclass(frozen=True)
class ScaleLayout:
    """Stages of `side` x `side` tokens each."""

    sides: tuple[int, ...]

    @property
    def stages(self) -> int:
        """How many scales."""
        return len(self.sides)

    @property
    def tokens(self) -> int:
        """Tokens over all scales."""
        return sum(side * side for side in self.sides)

    def clusters(self, stage: int) -> int:
        """Tokens of a scale."""
        return self.sides[stage] ** 2

    def stage_slice(self, stage: int) -> slice:
        """Where they are in a sequence."""
        start = sum(side * side for side in self.sides[:stage])
        return slice(start, start + self.clusters(stage))


class ScalePyramidQuantizer(ResidualQuantizer):
    """Residuals pooled by area, codes scattered by bicubic interpolation; no structure (leaves)."""

    def __init__(
        self,
        codebook_size: int,
        latent_dim: int,
        grid: int,
        phi: PhiForm = PhiForm.BLEND,
        phis: PhiCount = PhiCount.FOUR,
    ) -> None:
        if grid not in SIDES:
            known = ", ".join(map(str, SIDES))
            raise InputError(f"there is no scale pyramid for a grid of {grid}: use one of {known}")
        self.sides = SIDES[grid]
        super().__init__(codebook_size, latent_dim, ScaleLayout(self.sides), grid, phi, phis)

    def pool(self, values_BNC: Tensor, leaves_BN: Tensor, stage: int) -> Tensor:
        """Means over the cells of a coarser grid."""
        grid_BCDD = rearrange(values_BNC, "b (y x) c -> b c y x", y=self.grid)
        small_BCDD = F.interpolate(grid_BCDD, (self.sides[stage],) * 2, mode="area")
        return rearrange(small_BCDD, "b c y x -> b (y x) c")

    def scatter(self, values_BnC: Tensor, leaves_BN: Tensor, stage: int) -> Tensor:
        """The coarser grid enlarged; the last scale as it is."""
        if self.sides[stage] == self.grid:
            return values_BnC
        small_BCDD = rearrange(values_BnC, "b (y x) c -> b c y x", y=self.sides[stage])
        grid_BCDD = F.interpolate(small_BCDD, (self.grid,) * 2, mode="bicubic")
        return rearrange(grid_BCDD, "b c y x -> b (y x) c")
