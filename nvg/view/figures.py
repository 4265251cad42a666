"""Figures: grids of images, reconstructions, structure maps and canvases stage by stage.

Legend: B image of a batch, N position, D row or column of pixels or of the grid.
"""

import io
from collections.abc import Sequence

import torch
from PIL import Image, ImageDraw, ImageFont

from nvg.geometry import labels
from nvg.tokenizer.autoencoder import Detokenizer
from nvg.view.palette import Tile, structure_tile

GAP = 4
HEADER = 18
WHITE = (255, 255, 255)
INK = (40, 40, 40)


def tiles_of(pixels: torch.Tensor) -> list[Tile]:
    """uint8 [B, 3, D, D] as a list of [D, D, 3] arrays."""
    return list(pixels.cpu().permute(0, 2, 3, 1).numpy())


def image_grid(
    rows: Sequence[Sequence[Tile]],
    side: int,
    headers: Sequence[str] = (),
    names: Sequence[str] = (),
) -> Image.Image:
    """Tiles in rows, each scaled to `side` pixels, with column headers and row names."""
    left = 8 + max((len(name) for name in names), default=-1) * 7 if names else GAP
    top = HEADER if headers else GAP
    columns = max(len(row) for row in rows)
    canvas = Image.new(
        "RGB", (left + columns * (side + GAP), top + len(rows) * (side + GAP)), WHITE
    )
    draw, font = ImageDraw.Draw(canvas), ImageFont.load_default(12)
    for column, text in enumerate(headers):
        draw.text((left + column * (side + GAP), 2), text, INK, font)
    for y, row in enumerate(rows):
        if names:
            draw.text((4, top + y * (side + GAP) + side // 2 - 7), names[y], INK, font)
        for x, tile in enumerate(row):
            small = side > tile.shape[0]
            how = Image.Resampling.NEAREST if small else Image.Resampling.BOX
            image = Image.fromarray(tile).resize((side, side), how)
            canvas.paste(image, (left + x * (side + GAP), top + y * (side + GAP)))
    return canvas


def hierarchy_figure(
    detokenizer: Detokenizer, leaves: torch.Tensor, content: torch.Tensor, side: int = 96
) -> Image.Image:
    """Structure map and decoded canvas after each stage, for every image of leaves [B, N]."""
    geometry = detokenizer.config.geometry
    rows: list[list[Tile]] = []
    names: list[str] = []
    canvases = [
        tiles_of(detokenizer.decode(content, leaves, stage)) for stage in range(geometry.stages)
    ]
    for image in range(len(leaves)):
        maps = [labels(leaves[image], i, geometry.K).numpy() for i in range(geometry.stages)]
        rows.append([structure_tile(m, i, geometry.grid) for i, m in enumerate(maps)])
        rows.append([canvases[stage][image] for stage in range(geometry.stages)])
        names += ["structure", "canvas"]
    headers = [f"stage {i}: {geometry.clusters(i)}" for i in range(geometry.stages)]
    return image_grid(rows, side, headers, names)


def reconstruction_figure(
    originals: torch.Tensor, rebuilt: torch.Tensor, columns: int = 12, side: int = 64
) -> Image.Image:
    """Originals above their reconstructions, both uint8 [B, 3, D, D]."""
    rows, names = [], []
    for start in range(0, len(originals), columns):
        rows.append(tiles_of(originals[start : start + columns]))
        rows.append(tiles_of(rebuilt[start : start + columns]))
        names += ["original", "rebuilt"]
    return image_grid(rows, side, names=names)


def stage_figure(
    originals: torch.Tensor, stages: Sequence[torch.Tensor], side: int = 64
) -> Image.Image:
    """Per image the original, then the decoded canvas of each stage; uint8 [B, 3, D, D]."""
    columns = [tiles_of(pixels) for pixels in (originals, *stages)]
    headers = ["original", *(f"stage {stage}" for stage in range(len(stages)))]
    return image_grid(list(zip(*columns, strict=True)), side, headers)


def stage_frames(
    detokenizer: Detokenizer, leaves: torch.Tensor, content: torch.Tensor, side: int = 128
) -> list[list[Image.Image]]:
    """The frames of one animation per image: structure map beside canvas, stage by stage."""
    geometry = detokenizer.config.geometry
    animations: list[list[Image.Image]] = [[] for _ in range(len(leaves))]
    for stage in range(geometry.stages):
        canvases = tiles_of(detokenizer.decode(content, leaves, stage))
        for frames, leaf, canvas in zip(animations, leaves, canvases, strict=True):
            colors = structure_tile(labels(leaf, stage, geometry.K).numpy(), stage, geometry.grid)
            frames.append(image_grid([[colors, canvas]], side, [f"stage {stage}", ""]))
    return animations


def shown_side(native: int, least: int = 64) -> int:
    """The side an image of `native` pixels is shown with: its own, times the factor to `least`.

    Whole factors, and never smaller than the image: no pixel is lost or blurred.
    """
    return native * -(-least // native)


def sample_figure(
    pixels: torch.Tensor, names: Sequence[str], columns: int, side: int | None = None
) -> Image.Image:
    """Generated images uint8 [B, 3, D, D], `columns` per row, one name per row.

    A side in pixels instead of `shown_side`.
    """
    tiles, side = tiles_of(pixels), side or shown_side(pixels.shape[-1])
    rows = [tiles[start : start + columns] for start in range(0, len(tiles), columns)]
    return image_grid(rows, side, names=[str(name)[:16] for name in names])


def png_bytes(image: Image.Image) -> bytes:
    """An image as the bytes of a PNG file."""
    buffer = io.BytesIO()
    image.save(buffer, "png")
    return buffer.getvalue()
