"""Next Visual Granularity generation (arXiv 2508.12811): the library.

Each name below is imported on first use, so that `import nvg` stays fast.
"""

from typing import TYPE_CHECKING

from nvg.lazy import lazy_face

if TYPE_CHECKING:
    from nvg.generator.content import ContentGenerator as ContentGenerator
    from nvg.generator.structure_flow import StructureGenerator as StructureGenerator
    from nvg.geometry import Geometry as Geometry
    from nvg.loader.loader import SequenceLoader as SequenceLoader
    from nvg.quantizer.granularity import MultiGranularityQuantizer as MultiGranularityQuantizer
    from nvg.sampling.config import SamplerConfig as SamplerConfig
    from nvg.sampling.generators import load_generators as load_generators
    from nvg.store.linked import open_store as open_store
    from nvg.structure.builders import build_leaves as build_leaves
    from nvg.tokenizer.autoencoder import Autoencoder as Autoencoder
    from nvg.tokenizer.autoencoder import load_autoencoder as load_autoencoder
    from nvg.tokenizer.tokenizer import Tokenizer as Tokenizer
    from nvg.tokenizer.tokenizer import load_tokenizer as load_tokenizer
else:
    __getattr__, __dir__, __all__ = lazy_face(
        __name__,
        {
            "Autoencoder": "nvg.tokenizer.autoencoder",
            "ContentGenerator": "nvg.generator.content",
            "Geometry": "nvg.geometry",
            "MultiGranularityQuantizer": "nvg.quantizer.granularity",
            "SamplerConfig": "nvg.sampling.config",
            "SequenceLoader": "nvg.loader.loader",
            "StructureGenerator": "nvg.generator.structure_flow",
            "Tokenizer": "nvg.tokenizer.tokenizer",
            "build_leaves": "nvg.structure.builders",
            "load_autoencoder": "nvg.tokenizer.autoencoder",
            "load_generators": "nvg.sampling.generators",
            "load_tokenizer": "nvg.tokenizer.tokenizer",
            "open_store": "nvg.store.linked",
        },
    )

__version__ = "0.1.0"
