"""What steers a sampling, to be shown above its images and said: drawing, map, reference, mask.

Legend: N position.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from nvg.geometry import labels
from nvg.sampling.control import Control
from nvg.tokenizer.autoencoder import Detokenizer
from nvg.view.palette import Tile, structure_tile
from pipeline.sampling.options import SampleOptions

WHITE, BLACK = 255, 0


@dataclass(frozen=True)
class Steering:
    """What was given instead of sampled."""

    tiles: dict[str, Tile]
    """Each picture of it by its name."""
    said: str
    """One line."""


def steering_of(
    options: SampleOptions, control: Control | None, detokenizer: Detokenizer
) -> Steering | None:
    """Pictures and line of a control; None where nothing steers."""
    if control is None:
        return None
    geometry, tiles = detokenizer.config.geometry, {}
    side, stages = detokenizer.config.image_size, control.structure_stages
    if options.structure:
        tiles["drawing"] = _shown(options.structure, side)
    if control.content is not None:
        content, leaves = control.content[:1].cpu(), control.leaves[:1].cpu()
        pixels = detokenizer.decode(content, leaves)[0]
        tiles["reference"] = pixels.permute(1, 2, 0).numpy()
    if stages:
        map_N = labels(control.leaves[0].cpu(), stages - 1, geometry.K).numpy()
        tiles[f"map, stage {stages - 1}"] = structure_tile(map_N, stages - 1, geometry.grid)
    if control.region is not None and options.mask:
        kept_N = control.region[0].cpu().numpy()
        shown_N = np.where(kept_N, BLACK, WHITE).astype(np.uint8)
        grid = (geometry.grid, geometry.grid)
        tiles["mask"] = np.repeat(shown_N.reshape(*grid, 1), 3, axis=2)
        share = 1 - kept_N.mean()
        said = f"{options.mask}: {share:.0%} of the positions are sampled, the others kept"
    else:
        source = options.structure or options.reference
        what = "structure and tokens" if control.content_stages else "structure"
        said = f"{source} gives the {what} of stages 0 to {stages - 1} of {geometry.K}"
    return Steering(tiles, said)


def _shown(path: Path, side: int) -> Tile:
    """The user's drawing, stretched to a square as it is to the grid."""
    with Image.open(path) as image:
        small = image.convert("RGB").resize((side, side), Image.Resampling.NEAREST)
    return np.asarray(small)
