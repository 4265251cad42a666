"""Rows of a source -> blocks of pixels and label maps. A bad image becomes an error row.

Legend: B image of a batch, X view, N position, D row or column of pixels or of the grid.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from nvg.errors import first_line
from nvg.tokenizer.image_batch import Array, ImageBatch, RandomCrop
from pipeline.images.crops import Crops
from pipeline.images.decode import DEFAULT, ImageError, decode_views
from pipeline.images.label_maps import SegmentMaps
from pipeline.images.pixels import Reading
from pipeline.images.threads import decode_threads, each_in_threads
from pipeline.recipe import View
from pipeline.sources import Row, Source
from pipeline.sources.base import BadImageError

Block = dict[str, np.ndarray[Any, Any]]

UNREAD = "cannot be read"  # how the reason begins where storage failed, which is no bad image


def decode_rows(
    source: Source,
    rows: Sequence[Row],
    crops: Crops,
    maps: SegmentMaps | None = None,
    draw: str = "",
    threads: int = 1,
    reading: Reading = DEFAULT,
) -> Block:
    """Columns for `rows`: key, label, class, split, width, height, reason, done and pixels.

    pixels is uint8 [B, X, 3, D, D]; the reason of a good image is "", a bad one has pixels 0; done
    is what a good one needed (`Fix`). With label maps also segments, int32 [B, X, N]. Another
    `draw` puts random crops to other places.
    """
    views, size = len(crops.names()), crops.size
    pixels = np.zeros((len(rows), views, 3, size, size), np.uint8)
    segments = np.zeros((len(rows), views, maps.grid**2 if maps else 0), np.int32)
    width, height = np.zeros(len(rows), np.int32), np.zeros(len(rows), np.int32)
    reason, done = [""] * len(rows), np.zeros(len(rows), np.int32)

    def fill(row: tuple[int, bytes | OSError]) -> None:
        n, data = row
        try:
            image = decode_views(readable(data), crops, rows[n].key + draw, reading)
            width[n], height[n] = image.size
            if maps:
                segments[n] = maps.on_grid(maps.read(rows[n].key, image.windows))
            pixels[n], done[n] = image.pixels, image.done
        except ImageError as error:
            reason[n] = str(error)
            if error.size:
                width[n], height[n] = error.size

    each_in_threads(fill, enumerate(source.read([row.key for row in rows])), threads)
    names = source.classes
    block = {
        "key": np.array([row.key for row in rows], dtype=object),
        "label": np.array([row.label for row in rows], np.int32),
        "class": np.array([names[r.label] if r.label >= 0 else "" for r in rows], dtype=object),
        "split": np.array([row.split.value for row in rows], dtype=object),
        "width": width,
        "height": height,
        "reason": np.array(reason, dtype=object),
        "done": done,
        "pixels": pixels,
    }
    return {**block, "segments": segments} if maps else block


def readable(data: bytes | OSError) -> bytes:
    """What a source read; ImageError where it could not."""
    if isinstance(data, BadImageError):
        raise ImageError(str(data))
    if isinstance(data, OSError):
        raise ImageError(f"{UNREAD}: {data.strerror or first_line(data)}")
    return data


class RowImages:
    """Random access to the centre crops of rows, or to random ones, for the autoencoder."""

    def __init__(
        self,
        source: Source,
        rows: list[Row],
        size: int,
        maps: SegmentMaps | None = None,
        reading: Reading = DEFAULT,
    ) -> None:
        self.source, self.rows, self.crops, self.maps = source, rows, Crops(size), maps
        self.reading = reading
        self.skipped: dict[str, str] = {}

    def __len__(self) -> int:
        return len(self.rows)

    def batch(self, rows: Array, crop: RandomCrop | None = None) -> ImageBatch:
        """The readable images among `rows`; the others go to `skipped`. ImageError if none is."""
        picked, (crops, draw) = [self.rows[n] for n in rows], self.placed(crop)
        block = decode_rows(
            self.source, picked, crops, self.maps, draw, decode_threads(), self.reading
        )
        segments = block["segments"][:, 0] if self.maps else None
        return self.without_bad(rows, block["reason"], block["pixels"][:, 0], segments)

    def placed(self, crop: RandomCrop | None) -> tuple[Crops, str]:
        """How images are cut, and what places random crops beside the key."""
        if crop is None:
            return self.crops, ""
        return Crops(self.crops.size, (View.RANDOM,), crop.resize), f"\n{crop.seed}"

    def without_bad(
        self, rows: Array, reason: Array, pixels: Array, segments: Array | None
    ) -> ImageBatch:
        """A batch of the images without a reason; the others go to `skipped`.

        ImageError if none is without.
        """
        key = np.array([self.rows[n].key for n in rows], dtype=object)
        good = reason == ""
        self.skipped |= dict(zip(key[~good], reason[~good], strict=True))
        if not good.any():
            raise ImageError(
                f"no readable image in a whole batch; the first is {key[0]}: {reason[0]}"
            )
        segments = None if segments is None else segments[good]
        return ImageBatch(pixels[good], segments, tuple(key[good]), good)
