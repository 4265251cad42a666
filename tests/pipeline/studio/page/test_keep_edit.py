"""Keep stages of a reference, edit a region of it."""

from collections.abc import Callable

import numpy as np
import pytest
from PIL import Image

from tests.pipeline.studio.page.visitor import Visitor, png

pytestmark = pytest.mark.browser
Visit = Callable[..., Visitor]


def kept_of(visitor: Visitor) -> list[str]:
    """What each stage takes from the reference, as the page shows it."""
    rows = visitor.page.locator(".keep-row")
    return [rows.nth(n).get_attribute("data-keep") or "" for n in range(rows.count())]


def keep(visitor: Visitor, stage: int, what: str) -> None:
    """Choose for a stage."""
    visitor.page.check(f"input[name=keep-{stage}][value={what}]")


def test_stages_of_a_result_are_kept(visit: Visit) -> None:
    """Variations of another class have the structure of the kept stages, and their content."""
    visitor = visit()
    page = visitor.page
    visitor.choose(1)
    visitor.make()
    page.locator("#images button").nth(1).click()
    own = visitor.film()
    page.click("#to-keep")
    keep(visitor, 2, "structure")
    assert kept_of(visitor)[:3] == ["structure"] * 3
    keep(visitor, 0, "all")
    keep(visitor, 3, "anew")
    assert kept_of(visitor) == ["all", "structure", "structure"] + ["anew"] * (len(own) - 3)
    visitor.choose(2)
    page.click("#new-seed")
    visitor.make()
    made = visitor.film()
    assert made[0] == own[0]
    assert [structure for structure, _ in made[:3]] == [structure for structure, _ in own[:3]]
    assert made[-1] != own[-1]
    keep(visitor, 0, "anew")
    assert set(kept_of(visitor)) == {"anew"}
    page.click("#make")
    visitor.says("Keep at least the first stage")


def test_a_row_of_the_store_is_a_reference(visit: Visit) -> None:
    """Found by its class; its own class is chosen; `#row=` opens one at once."""
    visitor = visit()
    page = visitor.page
    visitor.open("keep")
    page.click("#make")
    visitor.says("Choose a reference first.")
    page.locator("[data-part=row]:visible").click()
    page.locator(".rows:visible img").first.wait_for()
    page.locator(".rows:visible img").first.click()
    page.locator("#keep-body").wait_for()
    assert "Reference: row 0" in (page.locator("[data-part=name]:visible").text_content() or "")
    page.click("#keep-all")
    visitor.make()
    first = visitor.film()
    page.goto(f"{visitor.origin}/#row=2")
    page.locator("[data-part=name]:visible", has_text="Reference: row 2").wait_for()
    visitor.make()
    assert visitor.film()[2] != first[2]


def test_a_photo_is_a_reference(visit: Visit) -> None:
    """Through the tokenizer of the run, dropped anywhere on the page."""
    visitor = visit()
    visitor.open("keep")
    waves = np.indices((40, 60)).sum(0)[..., None] * np.array([3, 5, 7]) % 256
    photo = Image.fromarray(waves.astype(np.uint8))
    visitor.drop("body", "photo.png", png(photo))
    visitor.page.locator("[data-part=name]:visible", has_text="photo.png").wait_for()
    visitor.make()
    assert "keeps stages" in (visitor.page.text_content("#result-facts") or "")


def test_a_region_is_drawn_anew(visit: Visit) -> None:
    """Exactly the brushed positions are sent; before and after lie under one slider."""
    visitor = visit()
    page = visitor.page
    visitor.make()
    before = visitor.film()[-1][1]
    page.click("#to-edit")
    page.click("#make")
    visitor.says("Brush over a region first.")
    visitor.tool("rectangle")
    visitor.brush((0.55, 0.05), (0.95, 0.95))
    page.click("#new-seed")
    with page.expect_request("**/api/jobs") as sent:
        page.click("#make")
    region = np.array(sent.value.post_data_json["region"])
    grid = round(len(region) ** 0.5)
    assert (region.reshape(grid, grid) == [[0] * (grid // 2) + [1] * (grid // 2)] * grid).all()
    visitor.wait()
    stack = page.locator("#before-after img")
    assert stack.nth(1).get_attribute("src") == before
    assert stack.nth(0).get_attribute("src") == visitor.images()[0] != before
    slider = page.locator("#before-after input")
    slider.focus()
    for key, inset in (("Home", "100%"), ("End", "0%")):
        page.keyboard.press(key)
        assert f"0px {inset} 0px 0px" in stack.nth(1).evaluate("n => getComputedStyle(n).clipPath")
    visitor.tool("fill")
    visitor.brush((0.1, 0.1))
    page.click("#make")
    visitor.says("Everything is marked")
