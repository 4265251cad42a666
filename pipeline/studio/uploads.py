"""Pictures from a page, bounded in bytes and pixels, decoded as those of a dataset.

Legend: N position, D row or column of pixels or of the grid.
"""

from typing import Any

import torch

from nvg.errors import InputError
from nvg.geometry import Geometry
from nvg.view.figures import tiles_of
from pipeline.images.crops import Crops
from pipeline.images.decode import decode_views, require_pixels
from pipeline.images.label_maps import label_map
from pipeline.sampling.references import on_grid, white
from pipeline.sampling.request_png import carried_request
from pipeline.studio.drawing import few_regions
from pipeline.studio.models import Models, require_photos
from pipeline.studio.pictures import film_pictures, shown

MOST_BYTES = 16 * 2**20
MOST_PIXELS = 2**25
MOST_NAME = 200  # characters of an upload's name


def read_map(data: bytes, geometry: Geometry) -> dict[str, Any]:
    """The regions of a picture on the latent grid, the smallest of too many as one."""
    require_pixels(data, MOST_PIXELS)
    regions, merged = few_regions(on_grid(label_map(data), geometry.grid))
    return {"regions": regions, "count": max(regions) + 1, "merged": merged}


def read_mask(data: bytes, geometry: Geometry) -> dict[str, Any]:
    """Where a picture is white, on the latent grid."""
    require_pixels(data, MOST_PIXELS)
    return {"region": (on_grid(white(data), geometry.grid) > 0).astype(int).tolist()}


def read_pixels(data: bytes, models: Models) -> torch.Tensor:
    """Pixels uint8 [1, 3, D, D] of a photo, cut as a dataset's; InputError without a tokenizer."""
    size = require_photos(models).config.image_size
    require_pixels(data, MOST_PIXELS)
    return torch.from_numpy(decode_views(data, Crops(size)).pixels)


def photo_answer(models: Models, pixels: torch.Tensor, name: str) -> dict[str, Any]:
    """A photo as a reference, what was cut from it, and its stages."""
    sequences = models.tokenized(pixels)
    return {
        "reference": models.as_tokens(sequences, name=name[:MOST_NAME]),
        "picture": shown(tiles_of(pixels)[0]),
        "film": film_pictures(models.film(sequences)),
    }


def restored(models: Models, data: bytes) -> dict[str, Any]:
    """The request in a PNG or a JSON document, for this run."""
    if data.startswith(b"\x89PNG"):
        require_pixels(data, MOST_PIXELS)
    table, image = carried_request(data)
    request, warnings = models.restored(table)
    if image is not None and not 0 <= image < request.count:
        raise InputError(f"the request in this PNG has no image {image}")
    return {"request": request.as_json(), "image": image, "warnings": warnings}
