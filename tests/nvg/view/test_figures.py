"""Figures: positions of tiles, colors of clusters, PNG round trips."""

import io

import numpy as np
import pytest
import torch
from PIL import Image

from nvg.view.figures import (
    below,
    hierarchy_figure,
    image_grid,
    png_bytes,
    reconstruction_figure,
    sample_figure,
    shown_side,
    tiles_of,
)
from nvg.view.palette import Tile
from tests.nvg.structure.kinds import random_leaves
from tests.nvg.tokenizer.makers import tiny_autoencoder

RED, GREEN, BLUE = (255, 0, 0), (0, 255, 0), (0, 0, 255)


def flat(color: tuple[int, int, int], side: int = 8) -> Tile:
    """A tile of one color."""
    return np.full((side, side, 3), color, np.uint8)


def colors_of(picture: Image.Image) -> set[tuple[int, ...]]:
    """All colors of an image."""
    return {tuple(pixel) for pixel in np.asarray(picture).reshape(-1, 3).tolist()}


def boxes(picture: Image.Image, color: tuple[int, int, int]) -> tuple[int, int, int, int, int]:
    """Left, top, width, height and area of a color."""
    rows, columns = np.nonzero((np.asarray(picture) == color).all(-1))
    left, top = columns.min(), rows.min()
    return left, top, columns.max() - left + 1, rows.max() - top + 1, len(rows)


@pytest.mark.parametrize("side", [4, 8, 20])
def test_tiles_are_scaled_to_squares(side: int) -> None:
    """Every tile is scaled to a square of `side` pixels."""
    picture = image_grid([[flat(RED), flat(GREEN)], [flat(BLUE)]], side)
    for color in (RED, GREEN, BLUE):
        assert boxes(picture, color)[2:] == (side, side, side * side)


def test_tiles_keep_their_order() -> None:
    """Rows go down, columns to the right, and tiles do not touch."""
    picture = image_grid([[flat(RED), flat(GREEN)], [flat(BLUE)]], 10)
    red, green, blue = (boxes(picture, color) for color in (RED, GREEN, BLUE))
    assert green[0] > red[0] + 10
    assert green[1] == red[1]
    assert blue[1] > red[1] + 10
    assert blue[0] == red[0]


def test_headers_and_names_are_drawn_beside_the_tiles() -> None:
    """Text adds ink outside the tiles and covers none of them."""
    rows = [[flat(RED), flat(GREEN)], [flat(BLUE), flat(RED)]]
    picture = image_grid(rows, 30, headers=["one", "two"], names=["first", "second"])
    assert boxes(picture, GREEN)[2:] == (30, 30, 900)
    assert boxes(picture, BLUE)[2:] == (30, 30, 900)
    plain = image_grid(rows, 30)
    assert picture.width > plain.width
    assert picture.height > plain.height
    assert len(colors_of(picture)) > len(colors_of(plain))


def test_enlarging_invents_no_colours() -> None:
    """Small tiles are enlarged without interpolation."""
    noise = np.random.default_rng(0).integers(0, 256, (4, 4, 3), dtype=np.uint8)
    picture = image_grid([[noise]], 40)
    allowed = {tuple(pixel) for pixel in noise.reshape(-1, 3).tolist()} | {(255, 255, 255)}
    assert colors_of(picture) == allowed


def test_tiles_of_a_batch_are_its_images() -> None:
    """[B, 3, D, D] becomes B arrays [D, D, 3]."""
    pixels = torch.arange(2 * 3 * 4 * 4, dtype=torch.uint8).view(2, 3, 4, 4)
    tiles = tiles_of(pixels)
    assert [tile.shape for tile in tiles] == [(4, 4, 3)] * 2
    assert tiles[1][2, 3].tolist() == pixels[1, :, 2, 3].tolist()


def solid(*colors: tuple[int, int, int]) -> torch.Tensor:
    """Images [B, 3, 8, 8], one per color."""
    levels = torch.tensor(colors, dtype=torch.uint8)
    return levels[:, :, None, None].expand(-1, -1, 8, 8).contiguous()


def test_originals_stand_over_their_reconstructions() -> None:
    """Each column has an original above its reconstruction."""
    picture = reconstruction_figure(solid(RED, GREEN), solid(BLUE, (9, 9, 9)), columns=2, side=16)
    red, green, blue = (boxes(picture, color) for color in (RED, GREEN, BLUE))
    assert (red[0], red[1]) == (blue[0], green[1])
    assert blue[1] > red[1]


def test_long_lists_of_reconstructions_are_broken() -> None:
    """Five images in two columns make three pairs of rows."""
    single = reconstruction_figure(solid(RED), solid(RED), columns=2, side=16)
    picture = reconstruction_figure(solid(*[RED] * 5), solid(*[RED] * 5), columns=2, side=16)
    assert boxes(picture, RED)[4] == 10 * 16 * 16
    assert picture.height > 2.5 * single.height


def test_samples_stand_class_by_class() -> None:
    """`columns` per row, in order."""
    picture = sample_figure(solid(RED, GREEN, BLUE, (9, 9, 9)), ["ant", "bee"], columns=2, side=16)
    red, green, blue = (boxes(picture, color) for color in (RED, GREEN, BLUE))
    assert (red[1], red[0]) == (green[1], blue[0])
    assert green[0] > red[0]
    assert blue[1] > red[1]


@pytest.mark.parametrize(("native", "side"), [(8, 64), (28, 84), (64, 64), (96, 96), (256, 256)])
def test_images_are_shown_in_their_own_size(native: int, side: int) -> None:
    """Small ones enlarged by a whole factor, none made smaller."""
    assert shown_side(native) == side
    pixels = torch.zeros(2, 3, native, native, dtype=torch.uint8)
    assert sample_figure(pixels, ["a"], columns=2).width == 8 + 7 + 2 * (side + 4)


def test_a_hierarchy_shows_map_and_canvas_of_every_stage() -> None:
    """Two images with K = 4 make four rows of five tiles; the last canvas is the decoded image."""
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


def test_one_picture_stands_above_another() -> None:
    """On white, where one is narrower."""
    first, second = Image.new("RGB", (2, 3), "red"), Image.new("RGB", (4, 1), "blue")
    pixels = np.asarray(below(first, second))
    assert pixels.shape == (4, 4, 3)
    assert (pixels[:3, :2] == (255, 0, 0)).all()
    assert (pixels[:3, 2:] == 255).all()
    assert (pixels[3] == (0, 0, 255)).all()


def test_a_png_reads_back() -> None:
    """The PNG decodes to the same pixels."""
    picture = image_grid([[flat(RED), flat(BLUE)]], 9)
    again = Image.open(io.BytesIO(png_bytes(picture)))
    assert again.format == "PNG"
    assert np.array_equal(np.asarray(again), np.asarray(picture))
