"""Label maps: one picture of region ids per image, cropped like it, on the latent grid.

Legend: X view, N position, D row or column of pixels or of the grid.
"""

import os
import re
from collections.abc import Iterable, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import torch
from PIL import Image

from nvg.errors import InputError
from nvg.store import Store
from nvg.structure import grid_labels
from nvg.structure.quality import RegionReader
from pipeline.images.crops import Crops, Window
from pipeline.images.decode import ImageError, Pixels, open_picture
from pipeline.recipe import TokenizeConfig, View
from pipeline.sources import Place, digest

Regions = np.ndarray[Any, np.dtype[np.int32]]


class SegmentMaps:
    """The folder of label maps that `data.segments` names: `KEY.png` for the image KEY.*.

    Palette and grey values are region ids; each colour is one region; alpha is ignored. A map of
    another size is stretched over its image.
    """

    def __init__(self, folder: str, image_size: int, grid: int) -> None:
        self.folder = Path(folder).expanduser().absolute()  # workers may run in another folder
        self.image_size, self.grid = image_size, grid
        if not self.folder.is_dir():
            raise InputError(f"data.segments {folder} is not a folder of label maps")

    def path(self, key: str) -> Path:
        """The file of an image's map; row 7 of a Parquet file F has `F/7.png`."""
        return self.folder / PurePosixPath(re.sub(r":(\d+)$", r"/\1", key)).with_suffix(".png")

    def holds(self, key: str) -> bool:
        """Whether the map of a key that a store tells lies below the folder, links and all."""
        path = os.path.realpath(self.path(key)) if "\0" not in key else "/"
        return Path(path).is_relative_to(os.path.realpath(self.folder))

    def fingerprint(self, keys: Iterable[str]) -> str:
        """SHA-256 over the sizes of the maps: it changes when they do."""
        return digest(f"{key}\t{Place(self.path(key)).size()}" for key in keys)

    def read(self, key: str, windows: Sequence[Window]) -> Regions:
        """Region ids [X, D, D] of windows of an image. ImageError without a map."""
        path = self.path(key)
        try:
            region_DD = label_map(path.read_bytes())
        except OSError as error:
            raise ImageError(f"no label map: {path}: {error.strerror or error}") from None
        except ImageError as error:
            raise ImageError(f"damaged label map: {path}: {error}") from None
        return np.stack([self._cut(region_DD, window) for window in windows])

    def _cut(self, region_DD: Regions, window: Window) -> Regions:
        """The nearest region id of each pixel of a window, [D, D]."""
        (wide, high), pixel = window.resized, np.arange(self.image_size) + 0.5
        row = ((pixel + window.top) * region_DD.shape[0] / high).astype(np.int64)
        column = ((pixel + window.left) * region_DD.shape[1] / wide).astype(np.int64)
        return region_DD[row][:, column[::-1] if window.flip else column]

    def on_grid(self, region_XDD: Regions) -> Regions:
        """The views of one map, int32 [X, D, D], on the latent grid [X, N], by majority."""
        positions = self.grid**2
        maps = torch.from_numpy(np.ascontiguousarray(region_XDD))
        found: Regions = grid_labels(maps, len(region_XDD), positions).to(torch.int32).numpy()
        return found


def store_regions(store: Store, folder: str | None) -> RegionReader | None:
    """Reads the regions, int32 [N], in the first view of a store's images, if a folder is given."""
    if folder is None:
        return None
    tokenize = store.manifest.recipe.get("tokenize", {})
    views = tuple(View(name) for name in tokenize.get("views", TokenizeConfig.views))
    resize = tokenize.get("resize", TokenizeConfig.resize)
    crops = Crops(store.manifest.image_size, views, resize)
    maps = SegmentMaps(folder, crops.size, store.geometry.grid)

    def regions(key: str, width: int, height: int) -> Regions:
        if not maps.holds(key):
            raise ImageError(f"no label map: the key {key!a} leads out of {folder}")
        first = crops.windows(width, height, key)[:1]
        return maps.on_grid(maps.read(key, first))[0]

    return regions


def label_map(data: bytes) -> Regions:
    """Region ids int32 [D, D'] from the bytes of a picture. ImageError when it is none."""
    return open_picture(data, _region_ids)


def _region_ids(image: Image.Image) -> Regions:
    if image.mode == "LA":
        image = image.getchannel("L")
    if image.mode not in ("1", "L", "P", "I", "I;16"):
        colour: Pixels = np.asarray(image.convert("RGB"))
        red, green, blue = (colour[..., n].astype(np.int32) for n in range(3))
        return red << 16 | green << 8 | blue
    return np.asarray(image).astype(np.int32)
