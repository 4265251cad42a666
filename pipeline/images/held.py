"""Small sets of images held in memory: decoded once, cut in every step.

Legend: B image of a batch, N position, C channel, D row or column of pixels or of the grid.
"""

import logging
from collections.abc import Iterator
from threading import Lock

import numpy as np

from nvg.loader.mode import MEMORY_FRACTION
from nvg.loader.preload import free_bytes
from nvg.progress import progress
from nvg.tokenizer.adm import resize
from nvg.tokenizer.image_batch import Array, ImageBatch, RandomCrop
from pipeline.images.blocks import RowImages, decode_rows, readable
from pipeline.images.decode import ImageError, Pixels, crop_window, decode, require_cuttable
from pipeline.images.threads import decode_threads, each_in_threads, local_processes

log = logging.getLogger("nvg")

PART = 1024  # images that are decoded between two steps of the bar
ASPECT = 1.4  # long side over short side of usual photos, to estimate what they will take

Cut = tuple[Array, Array, Array | None]
"""Reasons [B], pixels uint8 [B, 3, D, D] and, with label maps, segments int32 [B, N]."""


class TooLargeError(Exception):
    """Images take more memory than they may."""


class HeldImages:
    """The images of `images` in memory: their centre crops, or what random crops are cut from.

    They are decoded at the first batch, in the order of the source. A batch equals that of `images`
    to the bit, and bad images are reported as there. `resize` is that of the random crops, None for
    centre crops; batches that are cut otherwise are read, and so are all where what is held grows
    beyond `most` bytes.
    """

    def __init__(self, images: RowImages, resize: float | None, most: float) -> None:
        self.images, self.resize, self.most = images, resize, most
        self.held: _Centers | _Wholes | None = None
        self.is_tried, self.lock = False, Lock()

    def __len__(self) -> int:
        return len(self.images)

    @property
    def skipped(self) -> dict[str, str]:
        """Reason of each bad image that was asked for, by key."""
        return self.images.skipped

    def batch(self, rows: Array, crop: RandomCrop | None = None) -> ImageBatch:
        """The readable images among `rows`; the others go to `skipped`. ImageError if none is."""
        if (crop.resize if crop else None) != self.resize:
            return self.images.batch(rows, crop)
        with self.lock:
            if not self.is_tried:
                self.held, self.is_tried = self._decoded(), True
        if self.held is None:
            return self.images.batch(rows, crop)
        return self.images.without_bad(rows, *self.held.cut(rows, crop))

    def _decoded(self) -> "_Centers | _Wholes | None":
        try:
            return (
                _Wholes(self.images, self.resize, self.most)
                if self.resize
                else _Centers(self.images)
            )
        except TooLargeError:
            _say_too_large("more than estimated", self.most)
            return None


class _Centers:
    """Centre crops, and label maps where there are some."""

    def __init__(self, images: RowImages) -> None:
        size, maps = images.crops.size, images.maps
        self.reason = np.full(len(images), "", dtype=object)
        self.pixels = np.empty((len(images), 3, size, size), np.uint8)
        self.segments = np.empty((len(images), maps.grid**2), np.int32) if maps else None
        for part in _parts(len(images)):
            rows = images.rows[part]
            block = decode_rows(
                images.source, rows, images.crops, maps, "", decode_threads(), images.reading
            )
            self.reason[part], self.pixels[part] = block["reason"], block["pixels"][:, 0]
            if self.segments is not None:
                self.segments[part] = block["segments"][:, 0]

    def cut(self, rows: Array, crop: RandomCrop | None) -> Cut:
        """They are cut already."""
        segments = None if self.segments is None else self.segments[rows]
        return self.reason[rows], self.pixels[rows], segments


class _Wholes:
    """Whole images of the size that random crops are cut from; label maps are read each time."""

    def __init__(self, images: RowImages, resize: float, most: float) -> None:
        self.images, self.most = images, most
        self.crops, _ = images.placed(RandomCrop(0, resize))
        self.whole: list[tuple[Pixels, int, int] | None] = [None] * len(images)
        self.reason = np.full(len(images), "", dtype=object)
        self.bytes, self.lock = 0, Lock()
        for part in _parts(len(images)):
            keys = [row.key for row in images.rows[part]]
            data = enumerate(images.source.read(keys), part.start)
            each_in_threads(self._hold, data, decode_threads())

    def _hold(self, row: tuple[int, bytes | OSError]) -> None:
        n, data = row
        try:
            image, _ = decode(readable(data), self.images.reading)
            require_cuttable(image, self.crops.size)
        except ImageError as error:
            self.reason[n] = str(error)
            return
        (window,) = self.crops.windows(*image.size, "")
        whole = resize(image, window.resized)
        with self.lock:
            self.bytes += whole.nbytes
        if self.bytes > self.most:
            raise TooLargeError
        self.whole[n] = whole, *image.size

    def cut(self, rows: Array, crop: RandomCrop | None) -> Cut:
        """The squares of a step."""
        maps, side, (_, draw) = self.images.maps, self.crops.size, self.images.placed(crop)
        reason = self.reason[rows]
        pixels = np.zeros((len(rows), 3, side, side), np.uint8)
        segments = np.zeros((len(rows), maps.grid**2), np.int32) if maps else None
        for n, row in enumerate(rows):
            if (held := self.whole[row]) is None:
                continue
            whole, width, height = held
            key = self.images.rows[row].key
            windows = self.crops.windows(width, height, key + draw)
            pixels[n] = crop_window(whole, windows[0], side)
            try:
                if maps and segments is not None:
                    segments[n] = maps.on_grid(maps.read(key, windows))[0]
            except ImageError as error:
                reason[n] = str(error)
        return reason, pixels, segments


def held_if_small(images: RowImages, resize: float | None = None) -> RowImages | HeldImages:
    """The images held in memory where they take at most half of what is free, else as they are.

    `resize` is that of random crops, None for centre crops. What images take is known for centre
    crops; for random ones it is estimated, and held to while they are decoded.
    """
    side = round(images.crops.size * (resize or 1))
    size = len(images) * 3 * side**2 * (ASPECT if resize else 1)
    most = MEMORY_FRACTION * free_bytes() / local_processes()  # each holds its own
    if size > most:
        _say_too_large(f"{size / 1e9:.1f} GB", most)
        return images
    return HeldImages(images, resize, most)


def _say_too_large(size: str, most: float) -> None:
    log.info(
        "decoded images take %s, and %.1f GB may be used (half of the free memory, processes here: "
        "%d): every batch is read and decoded",
        size,
        most / 1e9,
        local_processes(),
    )


def _parts(count: int) -> Iterator[slice]:
    """Consecutive slices of so many images, with a bar."""
    with progress(total=count, desc="decode", unit="image", leave=False, delay=2) as bar:
        for start in range(0, count, PART):
            part = slice(start, min(start + PART, count))
            yield part
            bar.update(part.stop - start)
