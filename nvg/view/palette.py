"""Colors of structure maps, the same in figures and on terminals.

Legend: N position.
"""

import colorsys
from typing import Any

import numpy as np

Tile = np.ndarray[Any, np.dtype[np.uint8]]


def structure_tile(label_N: np.ndarray[Any, Any], stage: int, grid: int) -> Tile:
    """A map in colors, uint8 [grid, grid, 3]; children get hues close to their parent's."""
    clusters = 1 << stage
    palette = np.zeros((clusters, 3))
    for label in range(clusters):
        hue = (label + 0.5) / clusters
        brightness = 0.95 if label % 2 == 0 else 0.7
        palette[label] = colorsys.hsv_to_rgb(hue, 0.65, brightness)
    colors = (palette * 255).round().astype(np.uint8)
    return colors[label_N].reshape(grid, grid, 3)
