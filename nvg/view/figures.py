"""Figures: grids of images, reconstructions, structure maps and canvases stage by stage.

Legend: B image of a batch, N position, D row or column of pixels or of the grid.
"""

import io
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from PIL import Image, ImageDraw, ImageFont

from nvg.geometry import Geometry, labels
from nvg.tokenizer.autoencoder import Detokenizer
from nvg.view.palette import Tile, structure_tile

GAP = 4
HEADER = 18
FRAME_MILLISECONDS = 600
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


@dataclass(frozen=True)
class Film:
    """Structure map and rendered canvas of a batch after each stage, from the first on."""

    geometry: Geometry
    maps: list[torch.Tensor]
    """[B, N] of each stage."""
    canvases: list[torch.Tensor]
    """uint8 [B, 3, D, D] of each stage."""

    @staticmethod
    def join(parts: "Sequence[Film]") -> "Film":
        """One film of several batches."""
        maps, canvases = (
            [torch.cat(stage) for stage in zip(*each, strict=True)]
            for each in ([part.maps for part in parts], [part.canvases for part in parts])
        )
        return Film(parts[0].geometry, maps, canvases)

    def tiles(self) -> list[list[tuple[Tile, Tile]]]:
        """Of each image, by stage, the map in colours and the canvas."""
        grid = self.geometry.grid
        stages = []
        for stage, (map_BN, canvas) in enumerate(zip(self.maps, self.canvases, strict=True)):
            colours = [structure_tile(map_N, stage, grid) for map_N in map_BN.cpu().numpy()]
            stages.append(list(zip(colours, tiles_of(canvas), strict=True)))
        return [list(image) for image in zip(*stages, strict=True)]


def stored_film(detokenizer: Detokenizer, leaves: torch.Tensor, content: torch.Tensor) -> Film:
    """The film of sequences: leaves [B, N], content [B, 2N-1]."""
    geometry = detokenizer.config.geometry
    stages = range(geometry.stages)
    maps = [labels(leaves, stage, geometry.K) for stage in stages]
    return Film(geometry, maps, [detokenizer.decode(content, leaves, stage) for stage in stages])


def film_figure(film: Film, side: int = 96) -> Image.Image:
    """Structure map and canvas after each stage, two rows of every image."""
    rows = [list(row) for image in film.tiles() for row in zip(*image, strict=True)]
    geometry = film.geometry
    headers = [f"stage {i}: {geometry.clusters(i)}" for i in range(geometry.stages)]
    return image_grid(rows, side, headers, ["structure", "canvas"] * (len(rows) // 2))


def film_frames(film: Film, side: int = 128) -> list[list[Image.Image]]:
    """The frames of one animation per image: structure map beside canvas, stage by stage."""
    return [
        [image_grid([pair], side, [f"stage {stage}", ""]) for stage, pair in enumerate(image)]
        for image in film.tiles()
    ]


def gif_bytes(frames: Sequence[Image.Image]) -> bytes:
    """Frames as an endless animation, `FRAME_MILLISECONDS` each."""
    buffer, (first, *rest) = io.BytesIO(), frames
    first.save(
        buffer, "gif", save_all=True, append_images=rest, duration=FRAME_MILLISECONDS, loop=0
    )
    return buffer.getvalue()


def hierarchy_figure(
    detokenizer: Detokenizer, leaves: torch.Tensor, content: torch.Tensor, side: int = 96
) -> Image.Image:
    """The film of every image of leaves [B, N] as one picture."""
    return film_figure(stored_film(detokenizer, leaves, content), side)


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


def below(first: Image.Image, second: Image.Image) -> Image.Image:
    """One picture above another, on white."""
    canvas = Image.new("RGB", (max(first.width, second.width), first.height + second.height), WHITE)
    canvas.paste(first, (0, 0))
    canvas.paste(second, (0, first.height))
    return canvas


def png_bytes(image: Image.Image) -> bytes:
    """An image as the bytes of a PNG file."""
    buffer = io.BytesIO()
    image.save(buffer, "png")
    return buffer.getvalue()
