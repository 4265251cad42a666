"""Rows of a source -> blocks of pixels and label maps. A bad image becomes an error row.

Legend: B image of a batch, X view, N position, D row or column of pixels or of the grid.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from nvg.tokenizer.image_batch import ImageBatch, RandomCrop
from pipeline.images.crops import Crops
from pipeline.images.decode import ImageError, decode_views
from pipeline.images.label_maps import SegmentMaps
from pipeline.recipe import View
from pipeline.sources import Row, Source

Block = dict[str, np.ndarray[Any, Any]]


def decode_rows(
    source: Source,
    rows: Sequence[Row],
    crops: Crops,
    maps: SegmentMaps | None = None,
    draw: str = "",
) -> Block:
    """One block of columns for `rows`: key, label, class, split, width, height, reason, pixels.

    pixels is uint8 [B, X, 3, D, D]; the reason of a good image is "", a bad one has pixels 0. With
    label maps also segments, int32 [B, X, N]. Another `draw` puts random crops to other places.
    """
    views, size = len(crops.names()), crops.size
    pixels = np.zeros((len(rows), views, 3, size, size), np.uint8)
    segments = np.zeros((len(rows), views, maps.grid**2 if maps else 0), np.int32)
    width, height = np.zeros(len(rows), np.int32), np.zeros(len(rows), np.int32)
    reason = [""] * len(rows)
    for n, data in enumerate(source.read([row.key for row in rows])):
        try:
            if isinstance(data, OSError):
                raise ImageError(f"cannot be read: {data.strerror or data}")
            image = decode_views(data, crops, rows[n].key + draw)
            width[n], height[n] = image.size
            if maps:
                segments[n] = maps.on_grid(maps.read(rows[n].key, image.windows))
            pixels[n] = image.pixels
        except ImageError as error:
            reason[n] = str(error)
            if error.size:
                width[n], height[n] = error.size
    names = source.classes
    block = {
        "key": np.array([row.key for row in rows], dtype=object),
        "label": np.array([row.label for row in rows], np.int32),
        "class": np.array([names[r.label] if r.label >= 0 else "" for r in rows], dtype=object),
        "split": np.array([row.split.value for row in rows], dtype=object),
        "width": width,
        "height": height,
        "reason": np.array(reason, dtype=object),
        "pixels": pixels,
    }
    return {**block, "segments": segments} if maps else block


class RowImages:
    """Random access to the centre crops of rows, or to random ones, for the autoencoder."""

    def __init__(
        self, source: Source, rows: list[Row], size: int, maps: SegmentMaps | None = None
    ) -> None:
        self.source, self.rows, self.crops, self.maps = source, rows, Crops(size), maps
        self.skipped: dict[str, str] = {}

    def __len__(self) -> int:
        return len(self.rows)

    def batch(self, rows: np.ndarray[Any, Any], crop: RandomCrop | None = None) -> ImageBatch:
        """The readable images among `rows`; the others go to `skipped`. ImageError if none is."""
        picked, crops, draw = [self.rows[n] for n in rows], self.crops, ""
        if crop is not None:
            crops, draw = Crops(crops.size, (View.RANDOM,), crop.resize), f"\n{crop.seed}"
        block = decode_rows(self.source, picked, crops, self.maps, draw)
        good = block["reason"] == ""
        self.skipped |= dict(zip(block["key"][~good], block["reason"][~good], strict=True))
        if not good.any():
            key, reason = block["key"][0], block["reason"][0]
            raise ImageError(f"no readable image in a whole batch; the first is {key}: {reason}")
        segments = block["segments"][good, 0] if self.maps else None
        return ImageBatch(block["pixels"][good, 0], segments, tuple(block["key"][good]))
