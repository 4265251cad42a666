"""Quantization again, slow and obvious: plain loops written from the paper's formulas alone.

Nothing here imports nvg: the tests hold the fast modules against these functions.
Shape letters: N position, C latent channel, V codebook entry, H row, W column, O output channel.
"""

from collections.abc import Callable, Sequence
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from tests.nvg.structure.reference import label, log2

Array = NDArray[np.float64]
Refine = Callable[[int, Array], Array]
REFINERS = 4


def refiner_index(stage: int, last_stage: int) -> int:
    """The tick of linspace(1/12, 11/12, 4) nearest to stage / K, the higher one on a tie (VAR)."""
    first, last = Fraction(1, 12), Fraction(11, 12)
    ticks = [first + (last - first) * step / (REFINERS - 1) for step in range(REFINERS)]
    at = Fraction(stage, last_stage)
    return min(range(REFINERS), key=lambda index: (abs(ticks[index] - at), -index))


def conv3x3(grid_HWC: Array, weight_OC33: Array, bias_O: Array) -> Array:
    """A 3x3 cross-correlation with zero padding, position by position (Content construction)."""
    height, width, _ = grid_HWC.shape
    out_HWO = np.zeros((height, width, len(weight_OC33)))
    for row in range(height):
        for column in range(width):
            out_HWO[row, column] = bias_O
            for dy in (-1, 0, 1):
                for dx in (-1, 0, 1):
                    if 0 <= row + dy < height and 0 <= column + dx < width:
                        kernel_OC = weight_OC33[:, :, dy + 1, dx + 1]
                        out_HWO[row, column] += kernel_OC @ grid_HWC[row + dy, column + dx]
    return out_HWO


def phi(grid_HWC: Array, weight_OC33: Array, bias_O: Array) -> Array:
    """The refiner phi(h) = (1 - 0.5) h + 0.5 conv3x3(h) (Content construction, as in VAR)."""
    return (1 - 0.5) * grid_HWC + 0.5 * conv3x3(grid_HWC, weight_OC33, bias_O)


def residual_phi(grid_HWC: Array, weight_OC33: Array, bias_O: Array) -> Array:
    """The refiner phi(h) = h + 0.5 conv3x3(h), as in the authors' release."""
    return grid_HWC + 0.5 * conv3x3(grid_HWC, weight_OC33, bias_O)


def nearest_code(vector_C: Array, codebook_VC: Array) -> int:
    """The nearest code in l2, the lowest index on ties (Content construction, Eq. 4)."""
    best, best_distance = -1, np.inf
    for index, code_C in enumerate(codebook_VC):
        distance = float(((vector_C - code_C) ** 2).sum())
        if distance < best_distance:
            best, best_distance = index, distance
    return best


def quantize(
    latents_NC: Array, leaves_N: Sequence[int], codebook_VC: Array, refine: Refine
) -> tuple[list[int], list[Array]]:
    """Eq. 4, 5: the content of every stage in order, and the canvas after every stage."""
    positions, channels = latents_NC.shape
    last_stage, grid = log2(positions), 2 ** (log2(positions) // 2)
    canvas_NC = np.zeros((positions, channels))
    content: list[int] = []
    canvases: list[Array] = []
    for stage in range(last_stage + 1):
        residual_NC = latents_NC - canvas_NC
        placed_NC = np.zeros((positions, channels))
        for cluster in range(2**stage):
            members = [
                p for p in range(positions) if label(leaves_N[p], stage, last_stage) == cluster
            ]
            average_C = sum(residual_NC[p] for p in members) / len(members)
            code = nearest_code(average_C, codebook_VC)
            content.append(code)
            for position in members:
                placed_NC[position] = codebook_VC[code]
        refined_HWC = refine(stage, placed_NC.reshape(grid, grid, channels))
        canvas_NC = canvas_NC + refined_HWC.reshape(positions, channels)
        canvases.append(canvas_NC)
    return content, canvases
