"""For everyone: keyboard only, narrow and wide, touch, contrast in both schemes."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.pipeline.studio.page.visitor import Visitor

pytestmark = pytest.mark.browser
Visit = Callable[..., Visitor]
PARTS = ("make", "draw", "keep", "edit", "share")

LOOKS = Path(__file__).with_name("looks.js").read_text(encoding="utf-8")


def seen(visitor: Visitor, what: str) -> Any:
    """The faults of one kind (`looks.js`)."""
    return visitor.page.evaluate(f"{LOOKS}.{what}()")


def through_all_parts(visitor: Visitor, look: Callable[[], Any]) -> dict[str, Any]:
    """What `look` finds in each part, each with something in it."""
    found = {"empty": look()}
    visitor.make()
    for part in PARTS:
        visitor.open(part)
        if part == "draw":
            visitor.brush((0.1, 0.1), (0.4, 0.6))
            visitor.page.locator("#draw-hierarchy figure").first.wait_for()
        own = visitor.page.locator("[data-part=own]:visible")
        if own.count():
            own.click()
        if part == "edit":
            visitor.brush((0.1, 0.1), (0.1, 0.9))
            visitor.make()
            visitor.page.click("#to-pair")
        if part == "keep":
            visitor.page.locator("[data-part=row]:visible").click()
            visitor.page.locator(".rows:visible img").first.wait_for()
        found[part] = look()
    return found


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_contrast(visit: Visit, scheme: str) -> None:
    """WCAG AA: text 4.5:1, large text and borders of controls 3:1; every control has a name."""
    visitor = visit(color_scheme=scheme)

    def look() -> Any:
        visitor.page.mouse.move(1, 1)
        visitor.page.wait_for_timeout(200)  # colours change in 0.12 s
        return seen(visitor, "contrast"), seen(visitor, "nameless")

    found = through_all_parts(visitor, look)
    assert {part: each for part, each in found.items() if each != ([], [])} == {}


@pytest.mark.parametrize("width", [400, 760, 1920])
def test_widths(visit: Visit, width: int) -> None:
    """Nothing reaches beyond the window, and no control is too small for a finger."""
    visitor = visit(width=width, has_touch=width == 400)

    def look() -> Any:
        page = visitor.page
        room = page.evaluate("document.documentElement.scrollWidth - innerWidth")
        return room, seen(visitor, "wide"), seen(visitor, "small")

    found = through_all_parts(visitor, look)
    assert {part: each for part, each in found.items() if each != (0, [], [])} == {}


def test_a_finger_draws(visit: Visit) -> None:
    """A tap paints a position."""
    visitor = visit(width=400, has_touch=True)
    visitor.open("draw")
    canvas = visitor.page.locator("canvas.paint:visible")
    canvas.tap(position={"x": 20, "y": 20})
    visitor.page.locator("#draw-summary", has_text="2 regions").wait_for()


def tab_to(visitor: Visitor, selector: str) -> None:
    """Press Tab until a control has the focus."""
    for _ in range(60):
        visitor.page.keyboard.press("Tab")
        if visitor.page.evaluate("sel => document.activeElement.matches(sel)", selector):
            return
    raise AssertionError(f"Tab never reaches {selector}")


def press(visitor: Visitor, *keys: str) -> None:
    """Keys, one after the other."""
    for key in keys:
        visitor.page.keyboard.press(key)


def test_the_keyboard_alone(visit: Visit) -> None:
    """All five parts from the first Tab to a copied command."""
    visitor = visit()
    page = visitor.page
    tab_to(visitor, "#tab-make")
    tab_to(visitor, "#class-list button")
    press(visitor, "ArrowRight", "Enter")
    assert page.text_content("#make") == "Make 8 images"
    tab_to(visitor, "#make")
    press(visitor, "Enter")
    page.locator("#to-share:not(:disabled)").wait_for()
    tab_to(visitor, "#images button")
    press(visitor, "ArrowRight")
    assert page.get_attribute("#images button >> nth=1", "aria-pressed") == "true"
    tab_to(visitor, "#stage")
    press(visitor, "Home")
    assert (page.text_content("#stage-number") or "").startswith("0 ")

    page.focus("#tab-make")
    press(visitor, "ArrowRight")
    tab_to(visitor, "canvas.paint")
    press(visitor, "r", "ArrowLeft", "ArrowLeft", "Space", "ArrowDown", "ArrowRight", "Enter")
    page.locator("#draw-summary", has_text="2 regions").wait_for()
    press(visitor, "Control+Enter")
    page.locator("#result-facts", has_text="follows a drawing").wait_for()
    visitor.wait()

    page.focus("#tab-draw")
    press(visitor, "ArrowRight")
    tab_to(visitor, "[data-part=own]")
    press(visitor, "Enter")
    tab_to(visitor, "input[name=keep-1]")
    press(visitor, "ArrowUp")
    assert page.get_attribute(".keep-row >> nth=1", "data-keep") == "all"
    press(visitor, "Control+Enter")
    page.locator("#result-facts", has_text="keeps stages").wait_for()
    visitor.wait()

    page.focus("#tab-keep")
    press(visitor, "ArrowRight")
    tab_to(visitor, "canvas.paint")
    press(visitor, "Space", "Shift+ArrowRight", "Control+Enter")
    page.locator("#result-facts", has_text="one region redrawn").wait_for()
    visitor.wait()

    page.focus("#tab-edit")
    press(visitor, "ArrowRight")
    tab_to(visitor, "[aria-label='Copy: Command line']")
    press(visitor, "Enter")
    page.locator("#said:not(:empty)").wait_for()
