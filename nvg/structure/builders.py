"""Structure builders by name, and `build_leaves`, which calls them: latents -> leaves.

Legend: B image of a batch, N position, C channel.
"""

import inspect
from collections.abc import Callable
from functools import cache, wraps
from typing import Any

import torch
from torch import Tensor

from nvg.errors import InputError
from nvg.geometry import canonical, leaf_dtype
from nvg.lazy import own_function
from nvg.structure.greedy import greedy, greedy_with_swaps
from nvg.structure.lattice import LatentsError, lattice_frame
from nvg.structure.matching import optimal
from nvg.structure.names import GREEDY_SPACE, NAMES, require_builder_name
from nvg.structure.regions import segments, spatial
from nvg.structure.space import greedy_with_space

# Finite latents [B, N, C] in float32 or float64, N a power of two, and options by name -> leaves
Builder = Callable[..., Tensor]

BUILDERS: dict[str, Builder] = {
    "greedy": greedy,
    "greedy+2opt": greedy_with_swaps,
    GREEDY_SPACE: greedy_with_space,
    "optimal": optimal,
    "spatial": spatial,
    "segments": segments,
}


def build_leaves(latents: Tensor, builder: str = "greedy", **options: Any) -> Tensor:
    """Leaf labels of a batch of latents [B, N, C]: uint8, or uint16 for N > 256, of shape [B, N].

    Each row is a permutation of 0..N-1 in canonical child order; `labels(leaves, i, K)` is the
    structure map of stage i. `builder` is one of `builder_names()` or `module:function`; options
    are the builder's own. ValueError on a wrong shape or dtype, NaN or Inf, an unknown builder or
    option, or one that is missing.
    """
    build = find_builder(builder)
    allowed = list(inspect.signature(build).parameters)[1:]
    for option in options:
        if option not in allowed:
            raise ValueError(
                f"structure builder {builder!r} takes no option {option!r}; "
                f"it takes: {', '.join(allowed) or 'none'}"
            )
    if "segments" in allowed and options.get("segments") is None:
        raise ValueError(f"structure builder {builder!r} needs a label map per image: segments=...")
    if builder == GREEDY_SPACE and options.get("space_weight") is None:
        raise ValueError(f"structure builder {builder!r} needs a number: space_weight=...")
    _check(latents)
    values = latents.detach()
    try:
        with torch.no_grad():
            return build(values if values.dtype.itemsize >= 4 else values.float(), **options)
    except LatentsError as error:  # it may know only a slice of the batch
        raise ValueError(f"{error}: shape {tuple(latents.shape)}") from None


def register_builder(name: str, builder: Builder) -> None:
    """Register a builder under a new name. ValueError when the name is taken.

    Its leaves are checked to be permutations and put in canonical child order. Worker processes do
    not see this call; for them name the builder `module:function`.
    """
    if name in NAMES or ":" in name or not name:
        raise ValueError(f"{name!r} cannot name a structure builder: it is taken, empty or has a :")
    BUILDERS[name] = _checked(name, builder)
    NAMES.append(name)


def find_builder(name: str) -> Builder:
    """The builder called `name`, or imported from `module:function`. ValueError if unknown."""
    if ":" in name:
        return _import(name)
    require_builder_name(name)
    return BUILDERS[name]


def takes_segments(name: str) -> bool:
    """Whether a builder takes label maps, its option `segments`."""
    return "segments" in inspect.signature(find_builder(name)).parameters


@cache
def _import(name: str) -> Builder:
    builder = own_function(name, "structure builder")
    if not inspect.isroutine(builder):
        raise InputError(f"structure builder {name!r} is not a function")
    return _checked(name, builder)


def _checked(name: str, builder: Builder) -> Builder:
    """The builder with its result checked: a wrong leaf would spoil a whole store."""

    @wraps(builder)
    def build(latents: Tensor, **options: Any) -> Tensor:
        lattice_frame(latents)  # raises for NaN and Inf
        leaves = builder(latents, **options)
        positions = latents.shape[1]
        made = tuple(leaves.shape) if isinstance(leaves, Tensor) else type(leaves).__name__
        if made != tuple(latents.shape[:2]) or leaves.is_floating_point():
            raise InputError(
                f"structure builder {name!r} made {made} of latents {tuple(latents.shape)}: "
                "an integer tensor [B, N] is needed"
            )
        expected = torch.arange(positions, device=leaves.device).expand(leaves.shape)
        if not torch.equal(leaves.long().sort(1).values, expected):
            raise InputError(
                f"structure builder {name!r} returned leaves that are not a permutation "
                f"of 0..{positions - 1}, for latents {tuple(latents.shape)}"
            )
        return canonical(leaves.long()).to(leaf_dtype(positions))

    return build


def _check(latents: Tensor) -> None:
    shape = tuple(latents.shape)
    if latents.ndim != 3 or 0 in shape:
        raise ValueError(f"latents must be a non-empty [B, N, C], not {shape}")
    if shape[1] < 2 or shape[1] & (shape[1] - 1):
        raise ValueError(f"latents {shape}: the number of positions N must be a power of two >= 2")
    if not latents.is_floating_point():
        raise ValueError(f"latents {shape} must be floating point, not {latents.dtype}")
