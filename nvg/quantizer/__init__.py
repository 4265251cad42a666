"""The residual quantizer (Sec. 2.1, Eq. 4, 5): latents + leaves <-> content tokens."""

from nvg.quantizer.granularity import (
    MultiGranularityQuantizer,
)

__all__ = [
    "MultiGranularityQuantizer",
]
