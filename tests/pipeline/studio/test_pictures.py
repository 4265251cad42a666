"""Pictures as a page gets them."""

import numpy as np
import torch

from nvg.geometry import Geometry
from nvg.view.figures import Film
from nvg.view.palette import structure_tile
from pipeline.studio.pictures import data_uri, film_pictures, map_picture, shown
from tests.pipeline.studio.makers import decoded, pixels_of


def test_small_canvases_lose_nothing() -> None:
    """Large ones are WebP, close to what they show."""
    rng = np.random.default_rng(0)
    small = rng.integers(0, 256, (64, 64, 3), np.uint8)
    assert shown(small).startswith("data:image/png;")
    assert np.array_equal(pixels_of(decoded(shown(small))), small)
    large = np.repeat(np.arange(65, dtype=np.uint8)[None], 65, 0)[..., None].repeat(3, 2)
    assert shown(large).startswith("data:image/webp;")
    apart = pixels_of(decoded(shown(large))).astype(int) - large
    assert np.abs(apart).max() < 12


def test_maps_have_a_pixel_for_each_position() -> None:
    """In the colours of the view; a film has both of each stage."""
    geometry = Geometry(2)
    map_N = np.array([0, 1, 1, 0])
    assert np.array_equal(
        pixels_of(decoded(map_picture(map_N, 1, geometry))), structure_tile(map_N, 1, 2)
    )
    maps = [torch.zeros(2, 4, dtype=torch.int64)] * 2
    canvases = [torch.full((2, 3, 8, 8), level, dtype=torch.uint8) for level in (0, 255)]
    film = film_pictures(Film(geometry, maps, canvases))
    assert [each["stage"] for each in film] == [0, 1]
    assert [int(pixels_of(decoded(each["canvas"])).mean()) for each in film] == [0, 255]
    assert data_uri(b"a", "text/plain") == "data:text/plain;base64,YQ=="
