"""The page over a store: its data, its errors, and its use in a browser."""

import base64
import io
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from nvg.errors import InputError
from nvg.format.base import StoreError
from nvg.geometry import labels
from nvg.store import Store
from nvg.view.html import page_html, select_rows
from nvg.view.palette import structure_tile
from nvg.view.sheets import hierarchy_sheet
from tests.nvg.store.makers import empty_store, make_store
from tests.nvg.view.makers import NASTY


def embedded(page: bytes) -> dict[str, Any]:
    """The data embedded in a page."""
    found = re.search(rb'<script id="data" type="application/json">(.*?)</script>', page, re.S)
    assert found
    data: dict[str, Any] = json.loads(found[1])
    return data


def test_the_page_holds_the_stores_numbers(odd: Store) -> None:
    """A record has leaves, tokens and a canvas per stage; an error row has its reason."""
    originals = {1: np.full((8, 8, 3), 7, np.uint8)}
    data = embedded(page_html(odd, [0, 1, 5], originals))
    assert data["summary"].endswith("1 error rows; 3 of them on this page")
    first, second, bad = data["images"]
    assert (data["grid"], data["K"]) == (4, 4)
    assert first["key"] == NASTY
    assert first["leaves"] == odd.leaves[0, 0].tolist()
    assert first["content"] == odd.content[0, 0].tolist()
    assert len(first["canvases"]) == 5
    assert "original" not in first
    picture = Image.open(io.BytesIO(base64.b64decode(second["original"].partition(",")[2])))
    assert (np.asarray(picture) == 7).all()
    assert bad["reason"] == "not an image"
    assert "leaves" not in bad


def test_nothing_of_the_data_is_markup(odd: Store) -> None:
    """A `<` in a key is escaped; one script of data, one of code, and no URL but data:."""
    page = page_html(odd, [0]).decode()
    assert page.count("<script") == 2
    assert "window.hit" in page
    assert "</script><script>window" not in page
    assert re.findall(r"https?://", page) == []
    assert "default-src 'none'" in page


def test_a_store_without_decoder_still_shows_its_maps(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """It warns and shows maps and tokens without canvases; a sheet fails and names the remedy."""
    store = make_store(tmp_path / "a.vgs", 4)
    (tmp_path / "a.vgs" / "detokenizer.safetensors").unlink()
    (image,) = embedded(page_html(store, [0]))["images"]
    assert image["leaves"] == store.leaves[0, 0].tolist()
    assert "canvases" not in image
    assert "has lost its detokenizer.safetensors" in caplog.text
    with pytest.raises(StoreError, match="--resume"):
        hierarchy_sheet(store, [0], {})


def test_rows_are_selected(odd: Store) -> None:
    """Ranges and single rows; by default a few, evenly spaced; others are refused."""
    assert select_rows(odd, "0-2, 6") == [0, 1, 2, 6]
    assert select_rows(odd, None) == list(range(8))
    assert select_rows(odd, None, 4) == [0, 2, 4, 6]
    for text, words in (("8", "row 8 is out of range"), ("a", "not of the form"), ("", "form")):
        with pytest.raises(InputError, match=words):
            select_rows(odd, text)
    with pytest.raises(InputError, match=r"holds 1\.\.200 images, not 0"):
        page_html(odd, [])
    with pytest.raises(InputError, match="has no rows yet"):
        select_rows(empty_store(f"memory://{id(odd)}", 4), None)
    with pytest.raises(InputError, match="not 201"):
        page_html(odd, [0] * 201)


@pytest.fixture(params=[1280, 400])
def view(
    request: pytest.FixtureRequest, browser: Any, odd: Store, tmp_path: Path
) -> Iterator[tuple[Any, list[str]]]:
    """The page at a window width, with every request and error it makes."""
    path = tmp_path / "page.html"
    path.write_bytes(page_html(odd, list(range(8))))
    context = browser.new_context(viewport={"width": request.param, "height": 900})
    page, seen = context.new_page(), []
    page.on("request", lambda asked: seen.append(asked.url))
    page.on("pageerror", lambda error: seen.append(f"error: {error}"))
    page.goto(path.as_uri())
    yield page, seen
    context.close()


@pytest.mark.browser
def test_the_slider_changes_map_and_canvas(view: tuple[Any, list[str]], odd: Store) -> None:
    """The map has the colors of the figures at every stage; the keyboard works too."""
    page, seen = view
    for stage in range(5):
        page.locator("#stage").evaluate(
            "(node, stage) => { node.value = stage; node.dispatchEvent(new Event('input')); }",
            stage,
        )
        tile = structure_tile(labels(odd.leaves[0, 0].astype("int64"), stage, 4), stage, 4)
        found = page.locator("canvas[data-part=map]").evaluate(
            "node => [30, 90, 150, 210].flatMap(y => [30, 90, 150, 210].map(x =>"
            " [...node.getContext('2d').getImageData(x, y, 1, 1).data].slice(0, 3)))"
        )
        assert np.abs(np.array(found).reshape(4, 4, 3) - tile.astype(int)).max() <= 1
        assert page.get_by_alt_text(f"canvas after stage {stage}", exact=True).count() == 1
    page.locator("body").press("ArrowLeft")
    assert page.locator("#stage-number").text_content() == "3"
    assert [url for url in seen if not url.startswith(("file:", "data:"))] == []


@pytest.mark.browser
def test_hovering_lights_the_family(view: tuple[Any, list[str]], odd: Store) -> None:
    """It lists ancestors with tokens and both children; a click goes to a child."""
    page, _ = view
    page.locator("canvas[data-part=map]").hover(position={"x": 5, "y": 5})
    path = page.locator("[data-part=path] button").all_text_contents()
    tokens = odd.content[0, 0]
    assert path == [f"stage 0, 0: {tokens[0]}", f"stage 1, 0: {tokens[1]}"]
    children = page.locator("[data-part=children] button").all_text_contents()
    assert children == [f"0: {tokens[3]}", f"1: {tokens[4]}"]
    page.locator("[data-part=children] button").nth(1).click()
    assert page.locator("#stage-number").text_content() == "2"
    assert page.locator("[data-part=path] button").count() == 3
    page.locator("canvas[data-part=map]").click(position={"x": 5, "y": 5})
    assert page.locator("#stage-number").text_content() == "3"


@pytest.mark.browser
def test_the_keyboard_walks_through_clusters(view: tuple[Any, list[str]]) -> None:
    """Arrow keys on the focused map change the stage, Enter goes to the children."""
    page, _ = view
    page.locator("canvas[data-part=map]").focus()
    for key, last in (("ArrowDown", "0"), ("ArrowDown", "1"), ("ArrowDown", "1"), ("ArrowUp", "0")):
        page.locator("canvas[data-part=map]").press(key)
        text = page.locator("[data-part=path] button").last.text_content()
        assert text.startswith(f"stage 1, {last}:")
    page.locator("canvas[data-part=map]").press("Enter")
    page.get_by_text("structure, 4 clusters").wait_for()


@pytest.mark.browser
def test_filter_search_and_compare(view: tuple[Any, list[str]]) -> None:
    """Filters by status and key, an empty result, two images side by side."""
    page, _ = view
    page.locator("#status").select_option("error")
    assert page.locator("#list button").count() == 1
    page.locator("#list button").click()
    assert page.locator(".error").text_content() == "error: not an image"
    page.locator("#status").select_option("")
    page.locator("#search").fill("IMAGE-3")
    assert page.locator("#list button").count() == 1
    page.locator("#search").fill("nothing")
    assert page.locator("#list").text_content() == "No image matches."
    page.locator("#search").fill("")
    page.locator("#compare").check()
    assert page.locator("#panes section").count() == 2


@pytest.mark.browser
def test_a_page_is_filtered_by_split(browser: Any, tmp_path: Path) -> None:
    """The rows of either, and the split of the one that is shown."""
    store = make_store(tmp_path / "a.vgs", 8, val=(6, 7))
    (tmp_path / "page.html").write_bytes(page_html(store, list(range(8))))
    page = browser.new_page()
    page.goto((tmp_path / "page.html").as_uri())
    for split, count in (("train", 6), ("val", 2), ("", 8)):
        page.locator("#split").select_option(split)
        assert page.locator("#list button").count() == count
    page.locator("#list button").nth(7).click()
    assert page.locator("#panes p").first.text_content().endswith("16x16, val")
    page.close()


@pytest.mark.browser
def test_a_key_cannot_act(view: tuple[Any, list[str]]) -> None:
    """The key is shown as text, runs no script, and causes no error or request."""
    page, seen = view
    assert page.locator("#panes h1").text_content() == f"row 0: {NASTY}"
    assert page.evaluate("window.hit") is None
    assert [each for each in seen if not each.startswith(("file:", "data:"))] == []


@pytest.mark.browser
def test_it_fits_and_can_be_read(view: tuple[Any, list[str]]) -> None:
    """The page does not scroll sideways; contrast is at least 4.5 : 1 (WCAG AA), light and dark."""
    page, _ = view
    wide = page.evaluate("[document.documentElement.scrollWidth, window.innerWidth]")
    assert wide[0] <= wide[1]
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        colors = page.evaluate(
            "() => ['--ink', '--soft', '--mark', '--paper'].map(name =>"
            " getComputedStyle(document.documentElement).getPropertyValue(name).trim())"
        )
        paper = luminance(colors[-1])
        for color in colors[:3]:
            lighter, darker = sorted((luminance(color), paper), reverse=True)
            assert (lighter + 0.05) / (darker + 0.05) >= 4.5, (scheme, color)


def luminance(color: str) -> float:
    """WCAG's relative luminance of #rgb or #rrggbb."""
    digits = color.lstrip("#")
    if len(digits) == 3:
        digits = "".join(2 * digit for digit in digits)
    parts = [int(digits[n : n + 2], 16) / 255 for n in (0, 2, 4)]
    linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
