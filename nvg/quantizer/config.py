"""How a codebook is initialized; imports no torch."""

from enum import StrEnum

POINTS_PER_CODE = 64  # residuals per code that k-means asks for


class CodebookInit(StrEnum):
    """How the first codebook is made from residuals, or without them."""

    SAMPLE = "sample"
    KMEANS = "kmeans"
    UNIFORM = "uniform"
    """Drawn uniformly from -1/V .. 1/V, V codes; what the residuals are does not matter."""

    def wants(self, codebook_size: int) -> int:
        """How many residuals to collect; one batch of images does when it has fewer."""
        return POINTS_PER_CODE * codebook_size if self is CodebookInit.KMEANS else 1
