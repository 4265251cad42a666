"""Structure construction (Sec. 2.1, Alg. 1): latents -> leaf labels, by a builder of choice."""

from typing import TYPE_CHECKING

from nvg.lazy import lazy_face

if TYPE_CHECKING:
    from nvg.structure.builders import Builder as Builder
    from nvg.structure.builders import build_leaves as build_leaves
    from nvg.structure.builders import find_builder as find_builder
    from nvg.structure.builders import register_builder as register_builder
    from nvg.structure.builders import takes_segments as takes_segments
    from nvg.structure.child_order import order_by_merging as order_by_merging
    from nvg.structure.names import GREEDY_SPACE as GREEDY_SPACE
    from nvg.structure.names import builder_names as builder_names
    from nvg.structure.names import require_builder_name as require_builder_name
    from nvg.structure.names import require_space_weight as require_space_weight
    from nvg.structure.quality import Quality as Quality
    from nvg.structure.quality import explained_fraction as explained_fraction
    from nvg.structure.quality import measure_structure as measure_structure
    from nvg.structure.regions import grid_labels as grid_labels
    from nvg.structure.space import with_positions as with_positions
else:
    __getattr__, __dir__, __all__ = lazy_face(
        __name__,
        {
            "Builder": "nvg.structure.builders",
            "GREEDY_SPACE": "nvg.structure.names",
            "Quality": "nvg.structure.quality",
            "build_leaves": "nvg.structure.builders",
            "builder_names": "nvg.structure.names",
            "find_builder": "nvg.structure.builders",
            "grid_labels": "nvg.structure.regions",
            "measure_structure": "nvg.structure.quality",
            "order_by_merging": "nvg.structure.child_order",
            "register_builder": "nvg.structure.builders",
            "require_builder_name": "nvg.structure.names",
            "require_space_weight": "nvg.structure.names",
            "explained_fraction": "nvg.structure.quality",
            "takes_segments": "nvg.structure.builders",
            "with_positions": "nvg.structure.space",
        },
    )
