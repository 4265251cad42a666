"""The colored views: their content, and that odd keys are text, never markup."""

import io
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console, RenderableType

from nvg.store import Store
from nvg.view.palette import structure_tile
from nvg.view.summary import summarize
from nvg.view.terminal import BAR, bar, map_blocks, row_view, summary_view
from tests.nvg.store.makers import empty_store, make_store


def rendered(view: RenderableType, width: int = 120) -> str:
    """The output for a color terminal."""
    out = io.StringIO()
    Console(file=out, force_terminal=True, width=width, color_system="truecolor").print(view)
    return out.getvalue()


def plain(view: RenderableType) -> str:
    """The output without colors."""
    out = io.StringIO()
    Console(file=out, width=120).print(view)
    return out.getvalue()


def test_one_screen_has_what_matters(store: Store) -> None:
    """State, counts, errors by reason and one line per stage, within 40 lines."""
    text = plain(summary_view(summarize(store)))
    for word in ("finished", "3 of 3 chunks", "4x4, stages 0..4", "2 x", "not an image", "greedy"):
        assert word in text
    assert len(text.splitlines()) <= 40
    assert sum("bits" in line for line in text.splitlines()) == 5


def test_splits_are_shown(tmp_path: Path) -> None:
    """Both counts in the summary, and the split of a row."""
    store = make_store(tmp_path / "a.vgs", 10, val=(8, 9))
    assert "10 (8 train, 2 val)" in plain(summary_view(summarize(store)))
    assert "16x16, val" in plain(row_view(store, store.entry(9)))
    assert "16x16, train" in plain(row_view(store, store.entry(0)))


def test_the_weight_of_space_stands_beside_its_builder(store: Store) -> None:
    """Where the store has one."""
    found = summarize(store)
    assert "space_weight" not in plain(summary_view(found))
    found = replace(found, builder="greedy+space", space_weight=0.35)
    assert "greedy+space, space_weight 0.35" in plain(summary_view(found))


def test_an_unfinished_store_says_so(tmp_path: Path) -> None:
    """The summary says UNFINISHED."""
    assert "UNFINISHED" in plain(summary_view(summarize(empty_store(tmp_path / "a.vgs", 6))))


def test_bars_are_proportional() -> None:
    """Empty, half, full; values beyond are clipped."""
    assert bar(0) == " " * BAR
    assert bar(1) == "█" * BAR == bar(7)
    assert bar(0.5) == "█" * (BAR // 2) + " " * (BAR // 2)
    assert len(bar(0.33)) == BAR


def test_maps_have_the_pictures_colours() -> None:
    """Small maps take two characters per position, large ones half a character."""
    label = np.arange(16) % 4
    red, green, blue = structure_tile(label, 2, 4)[0, 0]
    text = rendered(map_blocks(label, 2, 4))
    assert text.count(f"48;2;{red};{green};{blue}m  ") == 4
    assert len(text.strip().splitlines()) == 4
    label = np.arange(256) // 64
    tile = structure_tile(label, 2, 16)
    one, other = tile[0, 0], tile[1, 0]
    text = rendered(map_blocks(label, 2, 16))
    assert f"38;2;{one[0]};{one[1]};{one[2]};48;2;{other[0]};{other[1]};{other[2]}m" in text
    assert text.count("▀") == 128


@pytest.mark.parametrize("row", [0, 3])
def test_an_image_is_shown(store: Store, row: int) -> None:
    """Map and tokens of every stage; an error row has its reason."""
    text = plain(row_view(store, store.entry(row)))
    assert f"image-{row}" in text
    if row == 3:
        assert "error: not an image" in text
    else:
        assert "stage 4, 16 clusters" in text
        assert str(store.content[0, 0, 0]) in text


def test_odd_keys_are_text(store: Store) -> None:
    """Brackets, quotes and non-Latin letters are printed unchanged."""
    key = "[bold]a/<b>\"'é漢"
    entry = {**store.entry(0), "key": key}
    assert key in plain(row_view(store, entry))
    odd = replace(summarize(store), path=key, reasons={key: 2})
    assert plain(summary_view(odd)).count(key) == 2


@pytest.mark.parametrize("width", [80, 200])
def test_a_terminal_of_80_columns_cuts_no_number(store: Store, width: int) -> None:
    """Bars make way for what they stand for."""
    found = summarize(store)
    text = rendered(summary_view(found, width), width)
    stages = text[text.index("clusters") :]
    assert "…" not in stages
    assert "..." not in stages
    for use in found.stages:
        assert f"{use.error:.4f}" in stages
        assert f"{use.entropy:.2f} bits" in stages
    assert ("█" in stages) == (width == 200)
