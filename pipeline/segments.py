"""Label maps beside the images: one picture per image, cropped like it, on the latent grid.

Legend: N latent position, D pixel row or column.
"""

import re
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import torch
from PIL import Image

from nvg.errors import InputError
from nvg.inspection import RegionReader
from nvg.store import Store
from nvg.structure import grid_labels, takes_segments
from pipeline.images import ImageError, Pixels, crop_box, open_picture
from pipeline.recipe import Recipe
from pipeline.sources import digest, size_of

Labels = np.ndarray[Any, np.dtype[np.int32]]


class SegmentMaps:
    """The folder of label maps that `data.segments` names: `KEY.png` for the image KEY.*.

    Any picture serves: palette and grey values are labels as they are, colours count as one label
    each, alpha is left out. A map of another size is stretched over its image.
    """

    def __init__(self, folder: str, image_size: int, grid: int) -> None:
        self.folder = Path(folder).expanduser().absolute()  # workers may stand elsewhere
        self.image_size, self.grid = image_size, grid
        if not self.folder.is_dir():
            raise InputError(f"data.segments {folder} is not a folder of label maps")

    def path(self, key: str) -> Path:
        """Where the map of an image lies; a row of a Parquet file `F:7` has `F/7.png`."""
        return self.folder / PurePosixPath(re.sub(r":(\d+)$", r"/\1", key)).with_suffix(".png")

    def fingerprint(self, keys: Sequence[str]) -> str:
        """SHA-256 over the maps' sizes, to notice that some have changed."""
        return digest(f"{key}\t{size_of(self.path(key))}" for key in keys)

    def read(self, key: str, width: int, height: int) -> Labels:
        """Labels [D, D] of the centre crop of an image of this size. ImageError without a map."""
        path = self.path(key)
        try:
            label = label_map(path.read_bytes())
        except OSError as error:
            raise ImageError(f"no label map {path}: {error.strerror or error}") from None
        except ImageError as error:
            raise ImageError(f"label map {path}: {error}") from None
        (wide, high), (left, top) = crop_box(width, height, self.image_size)
        row = (np.arange(self.image_size) + top + 0.5) * label.shape[0] / high
        column = (np.arange(self.image_size) + left + 0.5) * label.shape[1] / wide
        return label[row.astype(np.int64)][:, column.astype(np.int64)]

    def regions(self, key: str, width: int, height: int) -> Labels:
        """The same on the latent grid, int32 [N]."""
        return self.on_grid(self.read(key, width, height)[None])[0]

    def on_grid(self, label_VDD: Labels) -> Labels:
        """The views of one map, int32 [V, D, D], on the latent grid [V, N], by majority."""
        positions = self.grid**2
        maps = torch.from_numpy(np.ascontiguousarray(label_VDD))
        found: Labels = grid_labels(maps, len(label_VDD), positions).to(torch.int32).numpy()
        return found


def open_segments(recipe: Recipe) -> SegmentMaps | None:
    """The label maps a recipe's builder needs; None when it needs none. InputError if missing."""
    model = recipe.autoencoder.model
    if not takes_segments(model.builder):
        return None
    if not recipe.data.segments:
        raise InputError(
            f"data.segments is missing: builder {model.builder!r} needs a folder of label maps, "
            "one KEY.png for each image"
        )
    return SegmentMaps(recipe.data.segments, model.image_size, model.geometry.grid)


def store_regions(store: Store, folder: str | None) -> RegionReader | None:
    """Reads the regions of a store's images from a folder of label maps, if one is given."""
    if folder is None:
        return None
    return SegmentMaps(folder, store.manifest["image_size"], store.geometry.grid).regions


def label_map(data: bytes) -> Labels:
    """Labels int32 [D, D'] of a picture's bytes. ImageError when it is not one."""
    return open_picture(data, _labels)


def _labels(image: Image.Image) -> Labels:
    if image.mode == "LA":
        image = image.getchannel("L")
    if image.mode not in ("1", "L", "P", "I", "I;16"):
        colour: Pixels = np.asarray(image.convert("RGB"))
        red, green, blue = (colour[..., n].astype(np.int32) for n in range(3))
        return red << 16 | green << 8 | blue
    return np.asarray(image).astype(np.int32)
