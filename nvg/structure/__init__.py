"""Structure construction (Sec. 2.1, Alg. 1): latents -> leaf labels, by a builder of choice."""

from nvg.structure.builders import (
    Builder,
    build_leaves,
    builder_names,
    find_builder,
    register_builder,
    require_builder_name,
    takes_segments,
)
from nvg.structure.lattice import lattice
from nvg.structure.quality import Quality, measure_structure, share_explained
from nvg.structure.regions import grid_labels

__all__ = [
    "Builder",
    "Quality",
    "build_leaves",
    "builder_names",
    "find_builder",
    "grid_labels",
    "lattice",
    "measure_structure",
    "register_builder",
    "require_builder_name",
    "share_explained",
    "takes_segments",
]
