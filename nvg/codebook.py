"""Where a codebook starts: residuals of real latents, sampled or clustered.

Legend: V codeword, C latent channel, R residual.
"""

from enum import StrEnum

import torch
from torch import Tensor

from nvg.faiss_search import kmeans

POINTS_PER_CODE = 64  # residuals that k-means asks for, per codeword
ITERATIONS = 10  # of k-means; 30 more lower the error by 2 % (CIFAR-10 residuals, 1024 codewords)


class CodebookInit(StrEnum):
    """How the first codebook is made from residuals."""

    SAMPLE = "sample"
    KMEANS = "kmeans"

    def wants(self, codebook_size: int) -> int:
        """How many residuals to collect; one batch of images does when it has fewer."""
        return POINTS_PER_CODE * codebook_size if self is CodebookInit.KMEANS else 1


def start_codebook(
    residuals: Tensor, codebook_size: int, init: CodebookInit, generator: torch.Generator
) -> Tensor:
    """Codewords [V, C] from residuals [R, C]: a sample of them, or the centroids of k-means.

    k-means falls back on sampling when there are fewer residuals than codewords.
    """
    if init is CodebookInit.KMEANS and len(residuals) >= codebook_size:
        seed = int(torch.randint(2**31 - 1, (1,), generator=generator))
        return kmeans(residuals, codebook_size, ITERATIONS, seed)
    pick = torch.randint(len(residuals), (codebook_size,), generator=generator)
    return residuals[pick.to(residuals.device)]
