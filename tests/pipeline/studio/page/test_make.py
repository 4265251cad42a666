"""Make: classes and settings, stages as they come, cancel, two visitors, the visit's history."""

from collections.abc import Callable
from typing import Any

import pytest

from tests.pipeline.studio.page.visitor import Visitor

pytestmark = pytest.mark.browser
Visit = Callable[..., Visitor]


def test_images_grow_stage_by_stage(visit: Visit) -> None:
    """Each stage has a frame; the slider, the frames and Play show them; images differ."""
    visitor = visit()
    page = visitor.page
    visitor.choose(1, 2)
    page.fill("#number", "2")
    assert page.text_content("#make") == "Make 4 images"
    assert visitor.make().startswith("4 images in ")
    stages = int(page.get_attribute("#stage", "max") or 0) + 1
    assert len(visitor.film()) == stages > 2
    last = visitor.images()
    assert len(set(last)) == 4
    page.locator("#strip button").first.click()
    assert page.text_content("#stage-number") == f"0 of {stages - 1}"
    assert page.text_content("#pair-clusters") == "structure, 1 cluster"
    assert visitor.images() != last
    page.click("#play")
    page.locator("#stage-number", has_text=f"{stages - 1} of").wait_for()
    assert visitor.images() == last
    page.locator("#images button").nth(2).click()
    assert visitor.film()[-1][1] == last[2]


def test_a_long_film_shows_the_chosen_frame(visit: Visit) -> None:
    """Where the strip is wider than the window, as that of nine stages is on a telephone."""
    visitor = visit(width=300)
    page = visitor.page
    visitor.make()

    def seen(frame: Any) -> bool:
        place, box = page.locator("#strip").bounding_box(), frame.bounding_box()
        return bool(
            place["x"] <= box["x"] and box["x"] + box["width"] <= place["x"] + place["width"]
        )

    frames = page.locator("#strip button")
    assert seen(frames.last)
    assert not seen(frames.first)
    page.focus("#stage")
    before = page.evaluate("scrollY")
    page.keyboard.press("Home")
    assert seen(frames.first)
    assert not seen(frames.last)
    assert page.evaluate("scrollY") == before


def test_settings_start_at_the_recipe_and_go_back(visit: Visit) -> None:
    """What is changed is marked with the recipe's value, and only that is sent."""
    visitor = visit()
    page = visitor.page
    recipe = page.input_value("#set-top_p")
    assert page.text_content("#settings-changed") == "as in the recipe"
    page.fill("#set-top_p", "0.9")
    page.select_option("#set-solver", "midpoint")
    assert page.text_content("#settings-changed") == "2 not as in the recipe"
    assert page.locator(".note", has_text=f"recipe: {recipe}").is_visible()
    with page.expect_request("**/api/jobs") as sent:
        page.click("#make")
    assert sent.value.post_data_json["settings"] == {"top_p": 0.9, "solver": "midpoint"}
    visitor.wait()
    page.click("#reset")
    assert page.input_value("#set-top_p") == recipe
    assert page.locator(".changed").count() == 0


def test_what_cannot_be_made_is_said(visit: Visit) -> None:
    """No class, a number out of range, too many images: one line each, and nothing is sent."""
    visitor = visit()
    page = visitor.page
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.click("#class-none")
    page.click("#make")
    visitor.says("Choose a class")
    visitor.choose(0, 1)
    page.fill("#number", "60")
    page.click("#make")
    visitor.says("120 images are too many at once")
    page.fill("#number", "1")
    page.fill("#set-top_p", "2")
    page.click("#make")
    visitor.says("top-p must be at most 1")
    page.fill("#set-top_p", "")
    page.click("#make")
    visitor.says("top-p: give a number")
    assert asked == []


def test_cancel_ends_a_request(visit: Visit) -> None:
    """Long before it would be done; the next request is made."""
    visitor = visit()
    page = visitor.page
    page.fill("#number", "32")
    page.fill("#set-flow_steps", "200")
    page.click("#make")
    page.locator("#strip button").first.wait_for()
    page.click("#cancel")
    visitor.says("Cancelled.")
    assert "cancelled" in (page.text_content("#result-facts") or "")
    assert page.locator("#to-share").is_disabled()
    page.fill("#number", "1")
    page.fill("#set-flow_steps", "1")
    assert visitor.make().startswith("1 image in ")


def test_two_visitors_at_once(visit: Visit) -> None:
    """Each gets the images of its own request, those that it would get alone."""
    first, second = visit(), visit()
    begun = []
    for visitor, seed in ((first, "1"), (second, "2")):
        visitor.page.fill("#seed", seed)
        begun.append(visitor.begin())
    for visitor, before in zip((first, second), begun, strict=True):
        visitor.made(before)
    pictures = [visitor.images() for visitor in (first, second)]
    assert pictures[0] != pictures[1]
    second.page.fill("#seed", "1")
    second.make()
    assert second.images() == pictures[0]


def test_the_visit_outlives_a_reload(visit: Visit) -> None:
    """A result is opened again from the list; after a reload it is made again, the same."""
    visitor = visit()
    page = visitor.page
    visitor.make()
    first = visitor.images()
    page.click("#new-seed")
    visitor.make()
    assert visitor.images() != first
    page.locator("#history button").nth(1).click()
    assert visitor.images() == first
    page.reload()
    page.locator("#history .gone").nth(1).wait_for()
    page.locator("#history button").nth(1).click()
    page.locator("#history .gone").nth(1).wait_for(state="detached")  # its images are there again
    visitor.wait()
    assert visitor.images() == first
    page.click("#history-clear")
    assert page.locator("#past").is_hidden()


def test_any_two_are_shown_side_by_side(visit: Visit) -> None:
    """Two images with one slider of stages; a third takes the place of the older."""
    visitor = visit()
    page = visitor.page
    visitor.make()
    for image in range(3):
        page.locator("#images button").nth(image).click()
        page.click("#to-pair")
    names = page.locator("#beside figcaption").all_text_contents()
    assert names == ["result 1, image 2", "result 1, image 3"]
    page.click("text=Swap")
    assert page.locator("#beside figcaption").all_text_contents() == names[::-1]
    last = page.locator("#beside img").first.get_attribute("src")
    page.focus("#pair-slider")
    page.keyboard.press("Home")
    assert page.locator("#beside output").text_content() == "0"
    assert page.locator("#beside img").first.get_attribute("src") != last
    page.click("#pair-clear")
    assert page.locator("#beside").is_hidden()
