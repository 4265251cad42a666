"""The residual quantizer (Sec. 2.1, Eq. 4, 5): latents + leaves <-> content tokens."""

from typing import TYPE_CHECKING

from nvg.lazy import lazy_face

if TYPE_CHECKING:
    from nvg.quantizer.granularity import MultiGranularityQuantizer as MultiGranularityQuantizer
else:
    __getattr__, __dir__, __all__ = lazy_face(
        __name__, {"MultiGranularityQuantizer": "nvg.quantizer.granularity"}
    )
