"""Draw: tools, the hierarchy at once, imported pictures, and what is refused."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from tests.pipeline.studio.makers import bomb
from tests.pipeline.studio.page.visitor import Visitor, png

pytestmark = pytest.mark.browser
Visit = Callable[..., Visitor]


def drawn(visitor: Visitor, act: Callable[[], None]) -> Any:
    """The server's answer to the drawing that an action makes."""
    with visitor.page.expect_response("**/api/drawing") as answer:
        act()
    return answer.value.json()


def test_a_drawing_gives_its_hierarchy_and_the_structure_of_images(visit: Visit) -> None:
    """The stages that it determines are those of the images made from it."""
    visitor = visit()
    page = visitor.page
    visitor.open("draw")
    page.locator("#draw-summary", has_text="Paint a region").wait_for()
    page.click("#make")
    visitor.says("Draw a second region first.")
    visitor.tool("rectangle")
    found = drawn(visitor, lambda: visitor.brush((0.05, 0.05), (0.45, 0.95)))
    page.locator("#draw-summary", has_text="2 regions").wait_for()
    half = found["regions"][0]["positions"]
    assert found["regions"] == [{"region": n, "positions": half} for n in (0, 1)]
    assert page.locator("#draw-hierarchy .given").count() == found["stages"] == 2
    assert page.locator("#draw-hierarchy figure").count() == len(found["hierarchy"])
    assert [stage["mixed"] for stage in found["hierarchy"][:2]] == [[0], []]
    page.fill("#number", "2")
    visitor.make()
    structures = [structure for structure, _ in visitor.film()]
    assert structures[:2] == [stage["structure"] for stage in found["hierarchy"][:2]]
    found = drawn(visitor, lambda: page.select_option("#draw-stages", "1") and None)
    page.locator("#draw-summary", has_text="1 follows the drawing").wait_for()
    assert page.locator("#draw-hierarchy .given").count() == found["stages"] == 1


def test_tools_and_undo(visit: Visit) -> None:
    """Each tool leaves its cells; undo and redo walk through all of them, by button and key."""
    visitor = visit()
    page = visitor.page
    visitor.open("draw")
    steps: list[list[int]] = []

    def note(sent: Any) -> None:
        if "drawing" in sent.url:
            steps.append(sent.post_data_json["regions"])

    page.on("request", note)

    def act(name: str, *places: tuple[float, float]) -> list[int]:
        visitor.tool(name)
        drawn(visitor, lambda: visitor.brush(*places))
        return steps[-1]

    grid = round(len(act("brush", (0.1, 0.1))) ** 0.5)
    assert sum(steps[-1]) >= 1
    top = act("line", (0.02, 0.02), (0.98, 0.02))
    assert top[:grid] == [1] * grid
    page.locator("[data-region='2']:visible").click()
    filled = act("fill", (0.9, 0.9))
    assert set(filled) == {1, 2}
    assert filled[:grid] == top[:grid]
    erased = act("erase", (0.9, 0.9))
    assert erased[-1] == 0
    page.locator("[data-region='3']:visible").click()
    rounded = act("ellipse", (0.02, 0.02), (0.98, 0.98))
    assert rounded[grid * grid // 2 + grid // 2] == 3
    drawn(visitor, lambda: page.locator("button:visible", has_text="Undo").click())
    assert steps[-1] == erased
    page.locator("canvas.paint:visible").focus()
    drawn(visitor, lambda: page.keyboard.press("Control+z"))
    assert steps[-1] == filled
    drawn(visitor, lambda: page.keyboard.press("Control+y"))
    assert steps[-1] == erased
    page.locator("button:visible", has_text="Clear").click()
    page.locator("#draw-summary", has_text="Paint a region").wait_for()


def test_a_mask_is_imported(visit: Visit) -> None:
    """By dialog and by drop, from a picture of any size; a file that is no picture is refused."""
    visitor = visit()
    visitor.open("draw")
    mask = Image.new("L", (50, 30))
    mask.paste(255, (0, 0, 25, 30))
    found = drawn(visitor, lambda: visitor.upload("Import a mask", "mask.png", png(mask)))
    assert len(found["regions"]) == 2
    visitor.says("mask.png: 2 regions")
    mask.paste(255, (0, 0, 50, 15))
    found = drawn(visitor, lambda: visitor.drop("#draw-board", "other.png", png(mask)))
    assert found["regions"][0]["positions"] != found["regions"][1]["positions"]
    visitor.upload("Import a mask", "broken.png", b"no picture at all")
    visitor.page.locator("#said.error").wait_for()


def test_a_bomb_is_refused(visit: Visit, tmp_path: Path) -> None:
    """Too many pixels, too many bytes: a line says so, and the drawing stays."""
    visitor = visit()
    page = visitor.page
    visitor.open("draw")
    drawn(visitor, lambda: visitor.brush((0.1, 0.1), (0.4, 0.4)))
    before = page.text_content("#draw-summary")
    with page.expect_response("**/api/map") as answer:
        visitor.upload("Import a mask", "bomb.png", bomb())
    assert answer.value.status in (400, 413, 422)
    page.locator("#said.error").wait_for()
    with (tmp_path / "large.png").open("wb") as large:
        large.truncate(17 * 2**20)
    visitor.upload("Import a mask", "large.png", tmp_path / "large.png")
    visitor.says("large.png has 17 MiB: 16 MiB are taken")
    assert page.text_content("#draw-summary") == before
