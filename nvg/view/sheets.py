"""Sheets: pictures of several images with their hierarchies, and charts of a store's tokens.

Legend: N position, D row or column of pixels or of the grid, S stage.
"""

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont

from nvg.errors import InputError
from nvg.geometry import labels
from nvg.store import Store
from nvg.view.charts import figure_bytes, new_figure
from nvg.view.decoder import store_detokenizer
from nvg.view.figures import INK, WHITE, image_grid, tiles_of
from nvg.view.html import Originals
from nvg.view.palette import Tile, structure_tile
from nvg.view.summary import StoreSummary

SIDE = 96
MOST_ROWS = 32  # images of one sheet
BLUE = (11, 87, 208)


def hierarchy_sheet(store: Store, rows: list[int], originals: Originals) -> Image.Image:
    """A picture with original, structure maps, canvases and residual after each stage, per image.

    Child clusters have hues close to their parent's. InputError for rows without tokens.
    """
    if not rows or len(rows) > MOST_ROWS:
        raise InputError(f"a sheet holds 1..{MOST_ROWS} images, not {len(rows)}: select others")
    entries = store.token_entries(rows)
    geometry, detokenizer = store.geometry, store_detokenizer(store)
    leaves, content = (torch.from_numpy(each[:, 0]) for each in store.row_tokens(rows))
    canvases = [tiles_of(detokenizer.decode(content, leaves, s)) for s in range(geometry.stages)]
    lines: list[list[Tile]] = []
    names: list[str] = []
    blank = np.full((SIDE, SIDE, 3), 255, np.uint8)
    for n, row in enumerate(rows):
        maps = [labels(leaves[n], s, geometry.K).numpy() for s in range(geometry.stages)]
        lines.append(
            [originals.get(row, blank)]
            + [structure_tile(label, s, geometry.grid) for s, label in enumerate(maps)]
        )
        lines.append([blank] + [canvases[s][n] for s in range(geometry.stages)])
        error = entries[n]["stage_error"]
        lines.append([blank] + [_residual_bar(value, max(error)) for value in error])
        names += [f"row {row}", "canvas", "residual"]
    headers = ["original" if originals else ""]
    headers += [f"stage {s}: {geometry.clusters(s)}" for s in range(geometry.stages)]
    return image_grid(lines, SIDE, headers, names)


def _residual_bar(value: float, most: float) -> Tile:
    """A bar in proportion to the largest residual, with the number above it."""
    image = Image.new("RGB", (SIDE, SIDE), WHITE)
    draw, highest = ImageDraw.Draw(image), SIDE - 20
    height = round(highest * value / max(most, 1e-12))
    draw.rectangle((SIDE // 3, SIDE - height, 2 * SIDE // 3, SIDE), fill=BLUE)
    draw.text((SIDE // 4, SIDE - height - 16), f"{value:.4f}", INK, ImageFont.load_default(12))
    return np.asarray(image)


def usage_charts(found: StoreSummary, suffix: str = ".png") -> bytes:
    """Three charts by stage: codes used, entropy of tokens, residual; PNG, PDF or SVG by suffix.

    InputError when no image has tokens, or matplotlib is missing.
    """
    if not found.stages:
        raise InputError(f"{found.path} has no tokenized row to chart yet")
    stages = [use.stage for use in found.stages]
    figure = new_figure(10, 3)
    used, entropy, error = figure.subplots(1, 3)
    used.bar(stages, [100 * use.codes / found.codebook_size for use in found.stages])
    used.plot(
        stages, [100 * use.reach for use in found.stages], "k.-", label="of the attainable maximum"
    )
    used.set(title="codes used (%)", xlabel="stage", ylim=(0, 105))
    used.legend(frameon=False)
    entropy.plot(stages, [use.entropy for use in found.stages], "o-")
    rows = found.rows - found.val_rows
    most = [np.log2(min(found.codebook_size, use.clusters * rows)) for use in found.stages]
    entropy.plot(stages, most, "k:", label="attainable maximum")
    entropy.set(title="entropy of tokens (bits)", xlabel="stage", ylim=(0, None))
    entropy.legend(frameon=False)
    error.plot(stages, [use.error for use in found.stages], "o-")
    error.set(title="mean squared residual", xlabel="stage", ylim=(0, None))
    for axes in (used, entropy, error):
        axes.grid(alpha=0.3)
        axes.set_xticks(stages)
    return figure_bytes(figure, suffix)
