"""Rows of a source -> blocks of pixels and label maps. A bad image becomes an error row.

Legend: B image of a batch, X view, N position, D row or column of pixels or of the grid.
"""

import contextlib
import operator
from collections.abc import Callable, Sequence
from threading import Lock
from typing import Any

import numpy as np

from nvg.errors import first_line
from nvg.tokenizer.image_batch import Array, ImageBatch, RandomCrop
from pipeline.images.apart import Apart
from pipeline.images.crops import Crops
from pipeline.images.decode import (
    DEFAULT,
    LARGE_PIXELS,
    MOST_PIXELS,
    TOO_LONG,
    ImageError,
    LargeImageError,
    decode_views,
)
from pipeline.images.label_maps import SegmentMaps
from pipeline.images.pixels import Reading
from pipeline.images.threads import decode_threads, each_in_threads
from pipeline.recipe import View
from pipeline.sources import Row, Rows, Source
from pipeline.sources.base import BadImageError

Block = dict[str, np.ndarray[Any, Any]]
Item = tuple[int, bytes | OSError]
"""The number of a row, and what was read of it."""

UNREAD = "cannot be read"  # how the reason begins where storage failed, which is no bad image


def decode_rows(
    source: Source,
    rows: Sequence[Row],
    crops: Crops,
    maps: SegmentMaps | None = None,
    draw: str = "",
    threads: int = 1,
    reading: Reading = DEFAULT,
    isolated: bool = False,
) -> Block:
    """Columns for `rows`: key, label, class, split, width, height, reason, done and pixels.

    pixels is uint8 [B, X, 3, D, D]; the reason of a good image is "", a bad one has pixels 0; done
    is what a good one needed (`Fix`). With label maps also segments, int32 [B, X, N]. Another
    `draw` puts random crops to other places. An image that takes too long becomes a bad one, and a
    large one is decoded in a process of its own; where `isolated`, all are.
    """
    rows = list(rows)  # listed once
    filling = _Filling(rows, crops, maps, draw, reading, isolated)
    items = enumerate(source.read([row.key for row in rows]))
    each_in_threads(filling.fill, items, threads, filling.leave)
    filling.fill_apart()
    names = source.classes
    block = {
        "key": np.array([row.key for row in rows], dtype=object),
        "label": np.array([row.label for row in rows], np.int32),
        "class": np.array([names[r.label] if r.label >= 0 else "" for r in rows], dtype=object),
        "split": np.array([row.split.value for row in rows], dtype=object),
        "width": filling.width,
        "height": filling.height,
        "reason": np.array(filling.reason, dtype=object),
        "done": filling.done,
        "pixels": filling.pixels,
    }
    return {**block, "segments": filling.segments} if maps else block


class _Filling:
    """The columns of a block that images fill, each row once, whichever thread or process does."""

    def __init__(
        self,
        rows: Sequence[Row],
        crops: Crops,
        maps: SegmentMaps | None,
        draw: str,
        reading: Reading,
        isolated: bool,
    ) -> None:
        self.rows, self.crops, self.maps, self.draw = rows, crops, maps, draw
        self.reading, self.isolated = reading, isolated
        count, views, size = len(rows), len(crops.names()), crops.size
        self.pixels = np.zeros((count, views, 3, size, size), np.uint8)
        self.segments = np.zeros((count, views, maps.grid**2 if maps else 0), np.int32)
        self.width, self.height = np.zeros(count, np.int32), np.zeros(count, np.int32)
        self.reason, self.done = [""] * count, np.zeros(count, np.int32)
        self.guard, self.left = Lock(), set[int]()
        self.large: list[Item] = []
        """Images for a process of their own."""

    def fill(self, item: Item) -> None:
        """Decode the bytes of a row here, unless it is to be done apart."""
        if self.isolated:
            self.large.append(item)
            return
        with contextlib.suppress(LargeImageError):
            self._fill(item, operator.call, LARGE_PIXELS)
            return
        self.large.append(item)

    def fill_apart(self) -> None:
        """Decode, in another process, what `fill` has put off."""
        if not self.large:
            return
        with Apart() as apart:
            for item in sorted(self.large, key=lambda each: each[0]):
                self._fill(item, apart.call, MOST_PIXELS)

    def leave(self, item: Item) -> None:
        """Give up an image that a thread is stuck in."""
        with self.guard:
            self.left.add(item[0])
            self.reason[item[0]] = TOO_LONG

    def _fill(self, item: Item, call: Callable[..., Any], large: int) -> None:
        n, data = item
        key = self.rows[n].key
        try:
            image = call(
                decode_views, readable(data), self.crops, key + self.draw, self.reading, large
            )
            if self.maps:
                found = self.maps.on_grid(call(self.maps.read, key, image.windows))
        except ImageError as error:
            with self.guard:
                if n not in self.left:
                    self.reason[n] = str(error)
                    self.width[n], self.height[n] = error.size or (0, 0)
            return
        with self.guard:
            if n in self.left:
                return
            self.width[n], self.height[n] = image.size
            self.pixels[n], self.done[n] = image.pixels, image.done
            if self.maps:
                self.segments[n] = found


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
        rows: Sequence[Row],
        size: int,
        maps: SegmentMaps | None = None,
        reading: Reading = DEFAULT,
    ) -> None:
        self.source, self.crops, self.maps = source, Crops(size), maps
        self.rows = Rows.of(rows).loaded()
        self.reading = reading
        self.skipped: dict[str, str] = {}

    def __len__(self) -> int:
        return len(self.rows)

    def batch(self, rows: Array, crop: RandomCrop | None = None) -> ImageBatch:
        """The readable images among `rows`; the others go to `skipped`. ImageError if none is."""
        picked, (crops, draw) = self.rows.take(rows), self.placed(crop)
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
        key = np.array([row.key for row in self.rows.take(rows)], dtype=object)
        good = reason == ""
        self.skipped |= dict(zip(key[~good], reason[~good], strict=True))
        if not good.any():
            raise ImageError(
                f"no readable image in a whole batch; the first is {key[0]}: {reason[0]}"
            )
        segments = None if segments is None else segments[good]
        return ImageBatch(pixels[good], segments, tuple(key[good]), good)
