"""Small quantizers with latents and leaves."""

import torch

from nvg.geometry import Geometry
from nvg.quantizer import MultiGranularityQuantizer
from nvg.structure import build_leaves


def quantizer_case(
    grid: int, channels: int = 4, codes: int = 24, batch: int = 2, seed: int = 0
) -> tuple[MultiGranularityQuantizer, torch.Tensor, torch.Tensor]:
    """A quantizer with a random codebook, and random latents with greedy leaves."""
    generator = torch.Generator().manual_seed(seed)
    quantizer = MultiGranularityQuantizer(codes, channels, Geometry(grid))
    with torch.no_grad():
        for parameter in quantizer.parameters():
            parameter.copy_(0.5 * torch.randn(parameter.shape, generator=generator))
    latents_BNC = torch.randn(batch, grid * grid, channels, generator=generator)
    return quantizer, latents_BNC, build_leaves(latents_BNC)
