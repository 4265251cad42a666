"""Measures of how learnable structure is, for `tests/bench/space.py`.

- again: `pair_agreement` of held-out images' maps, by stage, with those found after decoding and
  encoding.
- flow: mean squared error of the structure flow's velocity, on the one channel that a stage draws,
  by stage 1..K-1.
- structure bits: an upper bound of the bits that a held-out hierarchy takes, from stage i on, given
  the class, the maps and the canvas before; entry 0 is the whole hierarchy. With v the flow's
  velocity, x = z - t v estimates the embedding from its noisy z, at a signal-to-noise ratio of
  ((1 - t) / t)^2. Half the integral of the squared error over that ratio is the information
  (Guo, Shamai and Verdu, 2005), in nats; worse estimates only raise it. Times below T_MIN are left
  out: there the noise no longer hides a bit.
- mask: `pair_agreement` of a drawn mask of two halves, given as the first map, with the map found
  when the sample is encoded again.

Noise and times are fixed; the networks are those of the EMA weights.

Legend: B image of a batch, N position, C channel, K structure channel.
"""

import math
from typing import Any

import numpy as np
import torch
from torch import Tensor

from nvg.generator.structure_flow import StructureGenerator
from nvg.geometry import Geometry, mixed_bit_embedding
from nvg.sampling.control import Control
from nvg.sampling.generators import Generators
from nvg.sequence import Sequences
from nvg.structure.drawn import leaves_of_regions
from nvg.tokenizer.autoencoder import Autoencoder, from_pixels
from nvg.tokenizer.image_batch import Images
from pipeline.images.recipe_images import open_images
from pipeline.recipe import Recipe
from pipeline.sources import split_rows
from tests.bench.agreement import pair_agreement

TIMES, T_MIN, SEED = 24, 0.1, 7
LABELS = [label for label in range(10) for _ in range(4)]  # of the samples of a mask


def heldout_images(recipe: Recipe) -> Images:
    """The centre crops that training did not see."""
    images = open_images(recipe)
    return images.center_crops(split_rows(images.source.rows, recipe.data.heldout)[1])


@torch.no_grad()
def heldout_sequences(recipe: Recipe, model: Autoencoder) -> Sequences:
    """Their tokens and classes."""
    images = open_images(recipe)
    rows = split_rows(images.source.rows, recipe.data.heldout)[1]
    batch = images.center_crops(rows).batch(np.arange(len(rows)))
    leaves, content, _ = model.tokenize(torch.from_numpy(batch.pixels))
    return Sequences(leaves.long(), content, torch.tensor([row.label for row in rows]))


@torch.no_grad()
def rebuilt_agreement(model: Autoencoder, images: Images) -> list[float]:
    """How far the maps of each stage are found again after decoding and encoding."""
    pixels, _ = images.batch(np.arange(len(images))).tensors(torch.device("cpu"))
    leaves, content, _ = model.tokenize(pixels)
    found = model.tokenize(model.decode(content, leaves))[0]
    return pair_agreement(leaves, found, model.config.geometry).mean(0).tolist()


@torch.no_grad()
def structure_bits(generators: Generators, sequences: Sequences) -> tuple[list[float], list[float]]:
    """Bits of an image's hierarchy from each of the stages 1..K-1 on, and flow by stage."""
    quantizer, structure = generators.detokenizer.quantizer, generators.structure
    canvases = quantizer.canvases(sequences.content, sequences.leaves)
    bits, flow = [], []
    for stage in range(1, structure.geometry.K):
        generator = torch.Generator().manual_seed(SEED)
        shape = (*sequences.leaves.shape, structure.geometry.K)
        total = error = 0.0
        for time, weight in quadrature():
            noise_BNK = torch.randn(shape, generator=generator)
            squares, own = _errors(
                structure, sequences, canvases[stage - 1], stage, time, noise_BNK
            )
            total += weight * squares
            error += own / TIMES
        bits.append(total)
        flow.append(error)
    return bits, flow


def quadrature() -> list[tuple[float, float]]:
    """Times, and what a squared error of bits of -1 and 1 counts at each, in bits."""
    step = (1 - T_MIN) / TIMES
    times = [T_MIN + step * (n + 0.5) for n in range(TIMES)]
    return [(time, (1 - time) / time**3 * step / math.log(2)) for time in times]  # half of d snr


def _errors(
    model: StructureGenerator,
    sequences: Sequences,
    canvas_BNC: Tensor,
    stage: int,
    time: float,
    noise_BNK: Tensor,
) -> tuple[float, float]:
    """Squared error of the unknown bits of an image at a time, bits of -1 and 1; flow at it."""
    leaves_BN, K = sequences.leaves, model.geometry.K
    stage_B, time_B = torch.full((len(leaves_BN),), stage), torch.full((len(leaves_BN),), time)
    clean_BNK = model.values(mixed_bit_embedding(leaves_BN, torch.full_like(stage_B, K), K))
    parent_BNK = mixed_bit_embedding(leaves_BN, stage_B - 1, K)
    noisy_BNK = model.inpaint(time * noise_BNK + (1 - time) * clean_BNK, clean_BNK, stage_B)
    velocity_BNK = model(noisy_BNK, time_B, canvas_BNC, parent_BNK, sequences.label, stage_B)
    low, high = (float(model.values(torch.tensor(bit))) for bit in (0, 2))
    guess_BNK = (noisy_BNK - time * velocity_BNK).clamp(low, high)
    squares_BNK = (guess_BNK - clean_BNK).square() * ~model.known(stage_B).unsqueeze(1)
    own = (velocity_BNK - noise_BNK + clean_BNK)[..., stage - 1].square().mean()
    return float(squares_BNK.sum((1, 2)).mean()), float(own)


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
