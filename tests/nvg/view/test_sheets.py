"""Sheets and charts: sizes, positions, errors."""

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from nvg.errors import InputError
from nvg.store import Store
from nvg.view.sheets import SIDE, hierarchy_sheet, usage_charts
from nvg.view.summary import summarize
from tests.nvg.store.makers import empty_store


def pixels(data: bytes | Image.Image) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    """The pixels of a picture, or of a PNG."""
    image = Image.open(io.BytesIO(data)) if isinstance(data, bytes) else data
    return np.asarray(image.convert("RGB"))


def test_three_lines_an_image_and_a_column_a_stage(store: Store) -> None:
    """The original beside five stages; rows of maps, canvases and residuals."""
    one = pixels(hierarchy_sheet(store, [0], {}))
    three = pixels(hierarchy_sheet(store, [0, 1, 2], {}))
    assert one.shape[1] == three.shape[1] > 6 * SIDE
    assert three.shape[0] - one.shape[0] == 2 * 3 * (SIDE + 4)


def test_the_original_stands_first(store: Store) -> None:
    """Its tile is white where there is none."""
    red = {0: np.full((8, 8, 3), (255, 0, 0), np.uint8)}
    with_one, without = (pixels(hierarchy_sheet(store, [0], given)) for given in (red, {}))
    is_red = (with_one == (255, 0, 0)).all(-1)
    assert is_red.sum() == SIDE * SIDE
    left = np.flatnonzero(is_red.any(0))[0]
    assert (without[20 : 20 + SIDE, left : left + SIDE] == 255).all()


def test_rows_without_tokens_are_refused(store: Store) -> None:
    """Error rows (with their reason), too many rows, and none."""
    with pytest.raises(InputError, match=r"row 3 .* has no tokens: not an image"):
        hierarchy_sheet(store, [0, 3], {})
    for rows in ([], [0] * 33):
        with pytest.raises(InputError, match=r"holds 1\.\.32"):
            hierarchy_sheet(store, rows, {})


@pytest.mark.thorough
def test_charts_are_drawn(store: Store, tmp_path: Path) -> None:
    """Three charts in color; a store without tokens is an error."""
    picture = pixels(usage_charts(summarize(store)))
    assert picture.shape[:2] == (450, 1500)
    assert len(np.unique(picture.reshape(-1, 3), axis=0)) > 20
    assert usage_charts(summarize(store), ".svg").startswith(b"<?xml")
    assert usage_charts(summarize(store), ".pdf").startswith(b"%PDF")
    with pytest.raises(InputError, match="has no tokenized row to chart"):
        usage_charts(summarize(empty_store(tmp_path / "b.vgs", 4)))
