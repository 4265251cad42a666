"""Pictures: grids of images, reconstructions, and a hierarchy with its canvas after each stage.

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


def sheet(
    rows: Sequence[Sequence[Tile]],
    side: int,
    headers: Sequence[str] = (),
    names: Sequence[str] = (),
) -> Image.Image:
    """Rows of tiles, each scaled to `side` pixels, under column headers and beside row names."""
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


def hierarchy(
    detokenizer: Detokenizer, leaves: torch.Tensor, content: torch.Tensor, side: int = 96
) -> Image.Image:
    """Structure map and decoded canvas after each stage, for every row of leaves [B, N]."""
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
    return sheet(rows, side, headers, names)


def reconstructions(
    originals: torch.Tensor, rebuilt: torch.Tensor, columns: int = 12, side: int = 64
) -> Image.Image:
    """Originals over their reconstructions, both uint8 [B, 3, D, D]."""
    rows, names = [], []
    for start in range(0, len(originals), columns):
        rows.append(tiles_of(originals[start : start + columns]))
        rows.append(tiles_of(rebuilt[start : start + columns]))
        names += ["original", "rebuilt"]
    return sheet(rows, side, names=names)


def stage_sheet(
    originals: torch.Tensor, stages: Sequence[torch.Tensor], side: int = 64
) -> Image.Image:
    """A row an image: the original, then what is decoded after each stage; uint8 [B, 3, D, D]."""
    columns = [tiles_of(pixels) for pixels in (originals, *stages)]
    headers = ["original", *(f"stage {stage}" for stage in range(len(stages)))]
    return sheet(list(zip(*columns, strict=True)), side, headers)


def stage_frames(
    detokenizer: Detokenizer, leaves: torch.Tensor, content: torch.Tensor, side: int = 128
) -> list[list[Image.Image]]:
    """For each image the frames of a film: structure map beside canvas, stage after stage."""
    geometry = detokenizer.config.geometry
    films: list[list[Image.Image]] = [[] for _ in range(len(leaves))]
    for stage in range(geometry.stages):
        canvases = tiles_of(detokenizer.decode(content, leaves, stage))
        for film, leaf, canvas in zip(films, leaves, canvases, strict=True):
            colours = structure_tile(labels(leaf, stage, geometry.K).numpy(), stage, geometry.grid)
            film.append(sheet([[colours, canvas]], side, [f"stage {stage}", ""]))
    return films


def samples(
    pixels: torch.Tensor, names: Sequence[str], columns: int, side: int = 64
) -> Image.Image:
    """Generated images uint8 [B, 3, D, D], `columns` to a row, one name a row."""
    tiles = tiles_of(pixels)
    rows = [tiles[start : start + columns] for start in range(0, len(tiles), columns)]
    return sheet(rows, side, names=[str(name)[:16] for name in names])


def png_bytes(picture: Image.Image) -> bytes:
    """A picture as the bytes of a PNG file."""
    buffer = io.BytesIO()
    picture.save(buffer, "png")
    return buffer.getvalue()
