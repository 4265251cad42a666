"""Maps and canvases as a page shows them.

Legend: B image of a batch, N position.
"""

import base64
import io
from typing import Any

from PIL import Image
from torch import Tensor

from nvg.geometry import Geometry
from nvg.view.figures import Film, png_bytes, tiles_of
from nvg.view.palette import Tile, structure_tile

MOST_LOSSLESS = 64  # pixels a side: larger canvases are shown as WebP, a tenth of the bytes
QUALITY = 85


def shown(tile: Tile) -> str:
    """A picture as a data URI."""
    picture = Image.fromarray(tile)
    if max(picture.size) <= MOST_LOSSLESS:
        return data_uri(png_bytes(picture))
    buffer = io.BytesIO()
    picture.save(buffer, "webp", quality=QUALITY)
    return data_uri(buffer.getvalue(), "image/webp")


def data_uri(data: bytes, kind: str = "image/png") -> str:
    """Bytes as a data URI."""
    return f"data:{kind};base64,{base64.b64encode(data).decode()}"


def stage_pictures(
    map_BN: Tensor, pixels: Tensor, stage: int, geometry: Geometry
) -> list[dict[str, str]]:
    """Map [B, N] and canvas uint8 [B, 3, D, D] of a stage, of each image."""
    return [
        {"structure": map_picture(map_N, stage, geometry), "canvas": shown(tile)}
        for map_N, tile in zip(map_BN.cpu().numpy(), tiles_of(pixels), strict=True)
    ]


def map_picture(map_N: Any, stage: int, geometry: Geometry) -> str:
    """A map [N], a pixel for each position."""
    return data_uri(png_bytes(Image.fromarray(structure_tile(map_N, stage, geometry.grid))))


def film_pictures(film: Film) -> list[dict[str, Any]]:
    """Each stage of the first image of a film."""
    return [
        {"stage": stage, **stage_pictures(map_BN[:1], pixels[:1], stage, film.geometry)[0]}
        for stage, (map_BN, pixels) in enumerate(zip(film.maps, film.canvases, strict=True))
    ]
