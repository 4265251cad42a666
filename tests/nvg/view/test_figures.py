"""Figures: tiles in their places, colours that tell clusters apart, PNGs that read back."""

import io

import numpy as np
import pytest
import torch
from PIL import Image

from nvg.view.figures import (
    hierarchy_figure,
    image_grid,
    png_bytes,
    reconstruction_figure,
    sample_figure,
    tiles_of,
)
from nvg.view.palette import Tile
from tests.nvg.structure.cases import random_leaves
from tests.nvg.tokenizer.makers import tiny_autoencoder

RED, GREEN, BLUE = (255, 0, 0), (0, 255, 0), (0, 0, 255)


def flat(colour: tuple[int, int, int], side: int = 8) -> Tile:
    """A tile of one colour."""
    return np.full((side, side, 3), colour, np.uint8)


def colours_of(picture: Image.Image) -> set[tuple[int, ...]]:
    """All colours of a picture."""
    return {tuple(pixel) for pixel in np.asarray(picture).reshape(-1, 3).tolist()}


def boxes(picture: Image.Image, colour: tuple[int, int, int]) -> tuple[int, int, int, int, int]:
    """Left, top, width, height and area of a colour."""
    rows, columns = np.nonzero((np.asarray(picture) == colour).all(-1))
    left, top = columns.min(), rows.min()
    return left, top, columns.max() - left + 1, rows.max() - top + 1, len(rows)


@pytest.mark.parametrize("side", [4, 8, 20])
def test_tiles_are_scaled_to_squares(side: int) -> None:
    """Every tile is a full square of `side` pixels, enlarged or reduced."""
    picture = image_grid([[flat(RED), flat(GREEN)], [flat(BLUE)]], side)
    for colour in (RED, GREEN, BLUE):
        assert boxes(picture, colour)[2:] == (side, side, side * side)


def test_tiles_keep_their_order() -> None:
    """Rows go down and columns to the right, without touching."""
    picture = image_grid([[flat(RED), flat(GREEN)], [flat(BLUE)]], 10)
    red, green, blue = (boxes(picture, colour) for colour in (RED, GREEN, BLUE))
    assert green[0] > red[0] + 10
    assert green[1] == red[1]
    assert blue[1] > red[1] + 10
    assert blue[0] == red[0]


def test_headers_and_names_are_drawn_beside_the_tiles() -> None:
    """Text adds ink outside, and every tile stays whole."""
    rows = [[flat(RED), flat(GREEN)], [flat(BLUE), flat(RED)]]
    picture = image_grid(rows, 30, headers=["one", "two"], names=["first", "second"])
    assert boxes(picture, GREEN)[2:] == (30, 30, 900)
    assert boxes(picture, BLUE)[2:] == (30, 30, 900)
    plain = image_grid(rows, 30)
    assert picture.width > plain.width
    assert picture.height > plain.height
    assert len(colours_of(picture)) > len(colours_of(plain))


def test_enlarging_invents_no_colours() -> None:
    """Small tiles are shown pixel by pixel."""
    noise = np.random.default_rng(0).integers(0, 256, (4, 4, 3), dtype=np.uint8)
    picture = image_grid([[noise]], 40)
    allowed = {tuple(pixel) for pixel in noise.reshape(-1, 3).tolist()} | {(255, 255, 255)}
    assert colours_of(picture) == allowed


def test_tiles_of_a_batch_are_its_images() -> None:
    """[B, 3, D, D] becomes B arrays [D, D, 3]."""
    pixels = torch.arange(2 * 3 * 4 * 4, dtype=torch.uint8).view(2, 3, 4, 4)
    tiles = tiles_of(pixels)
    assert [tile.shape for tile in tiles] == [(4, 4, 3)] * 2
    assert tiles[1][2, 3].tolist() == pixels[1, :, 2, 3].tolist()


def solid(*colours: tuple[int, int, int]) -> torch.Tensor:
    """Images [B, 3, 8, 8], one of each colour."""
    levels = torch.tensor(colours, dtype=torch.uint8)
    return levels[:, :, None, None].expand(-1, -1, 8, 8).contiguous()


def test_originals_stand_over_their_reconstructions() -> None:
    """Column by column, the second line shows what became of the first."""
    picture = reconstruction_figure(solid(RED, GREEN), solid(BLUE, (9, 9, 9)), columns=2, side=16)
    red, green, blue = (boxes(picture, colour) for colour in (RED, GREEN, BLUE))
    assert (red[0], red[1]) == (blue[0], green[1])
    assert blue[1] > red[1]


def test_long_lists_of_reconstructions_are_broken() -> None:
    """Five images at two columns make three pairs of lines."""
    single = reconstruction_figure(solid(RED), solid(RED), columns=2, side=16)
    picture = reconstruction_figure(solid(*[RED] * 5), solid(*[RED] * 5), columns=2, side=16)
    assert boxes(picture, RED)[4] == 10 * 16 * 16
    assert picture.height > 2.5 * single.height


def test_samples_stand_class_by_class() -> None:
    """`columns` to a row, in order."""
    picture = sample_figure(solid(RED, GREEN, BLUE, (9, 9, 9)), ["ant", "bee"], columns=2, side=16)
    red, green, blue = (boxes(picture, colour) for colour in (RED, GREEN, BLUE))
    assert (red[1], red[0]) == (green[1], blue[0])
    assert green[0] > red[0]
    assert blue[1] > red[1]


def test_a_hierarchy_shows_map_and_canvas_of_every_stage() -> None:
    """Two images of K = 4 make four lines of five tiles; the last canvas is the decoded image."""
    model = tiny_autoencoder()
    rng = np.random.default_rng(0)
    leaves = torch.from_numpy(random_leaves(rng, (2,), 4))
    content = torch.from_numpy(rng.integers(0, 16, (2, 31)))
    picture = np.asarray(hierarchy_figure(model, leaves, content, side=8))
    final = model.decode(content, leaves).permute(0, 2, 3, 1).numpy()
    bottom, right = picture.shape[0] - 4, picture.shape[1] - 4
    assert np.array_equal(picture[bottom - 8 : bottom, right - 8 : right], final[1])
    assert np.array_equal(picture[bottom - 32 : bottom - 24, right - 8 : right], final[0])
    first = model.decode(content, leaves, 0).permute(0, 2, 3, 1).numpy()
    left = right - 8 - 4 * 12
    assert np.array_equal(picture[bottom - 8 : bottom, left : left + 8], first[1])


def test_a_png_reads_back() -> None:
    """The bytes are a PNG of the very pixels."""
    picture = image_grid([[flat(RED), flat(BLUE)]], 9)
    again = Image.open(io.BytesIO(png_bytes(picture)))
    assert again.format == "PNG"
    assert np.array_equal(np.asarray(again), np.asarray(picture))
