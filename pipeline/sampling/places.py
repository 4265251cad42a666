"""Where sampled images go: PNG files by class, an array to evaluate, pictures of the stages.

Legend: B image of a batch, D row or column of pixels or of the grid.
"""

import zipfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from nvg.files import replacing, write_atomic
from nvg.view.figures import (
    Film,
    film_figure,
    film_frames,
    gif_bytes,
    png_bytes,
    shown_side,
    tiles_of,
)

SIDE, FRAME_SIDE = 96, 128  # at least, of images in stages.png and in animations
MOST_STAGED = 16  # images whose stages are shown


def image_file(folder: Path, number: int, label: int) -> Path:
    """Where image `number` of a class id goes; -1 for no class."""
    return folder / (f"{label:04d}" if label >= 0 else "") / f"{number:06d}.png"


def write_files(files: list[Path], pixels: Tensor) -> list[bytes]:
    """One PNG for each of the pixels uint8 [B, 3, D, D]; what was written."""
    written = []
    for path, tile in zip(files, tiles_of(pixels), strict=True):
        data = png_bytes(Image.fromarray(tile))
        write_atomic(path, data)
        written.append(data)
    return written


def read_files(files: list[Path]) -> Tensor:
    """The pixels uint8 [B, 3, D, D] that were written."""
    tiles = []
    for path in files:
        with Image.open(path) as image:
            tiles.append(torch.from_numpy(np.asarray(image).copy()).permute(2, 0, 1))
    return torch.stack(tiles)


def write_stages(folder: Path, film: Film, tile: int | None = None) -> None:
    """stages.png, and an animation NUMBER.gif of each image of a film, a frame per stage.

    Images have the side `tile`, or their own with space for a title above each.
    """
    native = film.canvases[0].shape[-1]
    side, frame = (tile or shown_side(native, least) for least in (SIDE, FRAME_SIDE))
    write_atomic(folder / "stages.png", png_bytes(film_figure(film, side)))
    for number, frames in enumerate(film_frames(film, frame)):
        write_atomic(folder / f"{number:04d}.gif", gif_bytes(frames))


@contextmanager
def array_file(path: Path, count: int) -> Iterator[Callable[[Tensor], None]]:
    """What appends batches uint8 [B, 3, D, D] to an .npz, as the ADM evaluator reads it.

    It has `count` images in all, as `arr_0` uint8 [B, D, D, 3].
    """
    with ExitStack() as opened:
        place = opened.enter_context(replacing(path))
        archive = opened.enter_context(zipfile.ZipFile(place, "w", allowZip64=True))
        member: Any = None

        def append(pixels: Tensor) -> None:
            nonlocal member
            values = np.ascontiguousarray(pixels.permute(0, 2, 3, 1).numpy())
            if member is None:
                member = opened.enter_context(archive.open("arr_0.npy", "w", force_zip64=True))
                shape = (count, *values.shape[1:])
                header = {"descr": "|u1", "fortran_order": False, "shape": shape}
                np.lib.format.write_array_header_1_0(member, header)
            member.write(values.tobytes())

        yield append
