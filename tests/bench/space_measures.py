"""Measures of how learnable structure is, for `tests/bench/space.py`.

- again: `pair_agreement` of held-out images' maps, by stage, with those found after decoding and
  encoding.
- mask: `pair_agreement` of a drawn mask of two halves, given as the first map, with the map found
  when the sample is encoded again.

Bits and flow loss are those of `nvg/metrics/likelihood.py`.

Legend: N position.
"""

from typing import Any

import numpy as np
import torch

from nvg.geometry import Geometry
from nvg.sampling.control import Control
from nvg.sampling.generators import Generators
from nvg.structure.drawn import leaves_of_regions
from nvg.tokenizer.autoencoder import Autoencoder, from_pixels
from nvg.tokenizer.image_batch import Images
from pipeline.images.recipe_images import open_images
from pipeline.recipe import Recipe
from pipeline.sources import split_rows
from tests.bench.agreement import pair_agreement

SEED = 7
LABELS = [label for label in range(10) for _ in range(4)]  # of the samples of a mask


def heldout_images(recipe: Recipe, most: int) -> Images:
    """Centre crops that training did not see, the first `most`."""
    images = open_images(recipe)
    return images.center_crops(split_rows(images.source.rows, recipe.data.heldout)[1][:most])


@torch.no_grad()
def rebuilt_agreement(model: Autoencoder, images: Images) -> list[float]:
    """How far the maps of each stage are found again after decoding and encoding."""
    pixels, _ = images.batch(np.arange(len(images))).tensors(torch.device("cpu"))
    leaves, content, _ = model.tokenize(pixels)
    found = model.tokenize(model.decode(content, leaves))[0]
    return pair_agreement(leaves, found, model.config.geometry).mean(0).tolist()


@torch.no_grad()
def mask_agreement(recipe: Recipe, generators: Generators, model: Autoencoder) -> float:
    """How far the first map of samples, encoded again, is the mask that was drawn."""
    geometry = model.config.geometry
    agreed = []
    for mask_NN in masks(geometry):
        leaves_N, stages = leaves_of_regions(mask_NN, geometry)
        control = Control(leaves_N.expand(len(LABELS), -1), stages)
        pixels = generators.images(LABELS, SEED, recipe.sample, control)
        found = model.leaves(model.encoder(from_pixels(pixels)))
        agreed.append(float(pair_agreement(control.leaves, found, geometry)[:, 1].mean()))
    return sum(agreed) / len(agreed)


def masks(geometry: Geometry) -> list[np.ndarray[Any, Any]]:
    """Half of the grid: the left, the upper, the middle columns, the middle rows."""
    place = np.arange(geometry.grid)
    left, middle = place * 2 < geometry.grid, abs(place * 2 + 1 - geometry.grid) * 2 < geometry.grid
    sides = [np.broadcast_to(side, (geometry.grid,) * 2) for side in (left, middle)]
    return [mask.astype(np.int32) for side in sides for mask in (side, side.T)]
