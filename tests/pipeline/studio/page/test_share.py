"""Share: what repeats a result, files, and a request that comes back from a PNG."""

import io
import json
from collections.abc import Callable

import pytest
from PIL import Image

from tests.pipeline.studio.page.visitor import Visitor

pytestmark = pytest.mark.browser
Visit = Callable[..., Visitor]


def text(visitor: Visitor, name: str) -> str:
    """One of the texts of Share."""
    return str(visitor.page.text_content(f"[data-text='{name}'] pre"))


def test_a_png_restores_its_request_to_the_byte(visit: Visit) -> None:
    """A drawing with settings; another visitor drops the PNG, presses the button, has the same."""
    visitor = visit()
    page = visitor.page
    visitor.open("draw")
    visitor.tool("ellipse")
    visitor.brush((0.2, 0.05), (0.8, 0.95))
    visitor.choose(2, 1)
    page.fill("#number", "2")
    page.fill("#seed", "7")
    page.click("#settings-part summary")
    page.fill("#set-top_p", "0.8")
    visitor.make()
    page.locator("#images button").nth(3).click()
    visitor.open("share")
    name, data = visitor.download("PNG")
    assert name.endswith("seed7-4.png")

    other = visit()
    other.drop("body", name, data)
    other.says("The request is restored (the file is its image 4)")
    assert other.page.get_attribute("#tab-draw", "aria-selected") == "true"
    assert other.page.input_value("#set-top_p") == "0.8"
    other.make()
    other.page.locator("#images button").nth(3).click()
    other.open("share")
    assert text(other, "Request") == text(visitor, "Request")
    assert other.download("PNG")[1] == data


@pytest.mark.parametrize("part", ["keep", "edit"])
def test_a_reference_is_restored(visit: Visit, part: str) -> None:
    """What was kept or edited comes back with the request, from its JSON too."""
    visitor = visit()
    page = visitor.page
    visitor.make()
    page.click(f"#to-{part}")
    if part == "edit":
        visitor.brush((0.1, 0.1), (0.1, 0.9))
    page.fill("#seed", "3")
    visitor.make()
    visitor.open("share")
    data = visitor.download("Request (JSON)")[1]
    _, image = visitor.download("PNG")
    other = visit()
    other.open("share")
    other.upload("Open a PNG or a request", "request.json", data)
    other.says("The request is restored")
    assert other.page.get_attribute(f"#tab-{part}", "aria-selected") == "true"
    other.make()
    other.open("share")
    assert other.download("PNG")[1] == image


def test_texts_and_files(visit: Visit) -> None:
    """The request, the command and Python; sheet, GIF of the stages, contact sheet."""
    visitor = visit()
    visitor.open("share")
    assert visitor.page.locator("#share-none").is_visible()
    visitor.open("make")
    visitor.choose(0, 1)
    visitor.make()
    stages = len(visitor.film())
    visitor.open("share")
    assert json.loads(text(visitor, "Request"))["classes"] == [0, 1]
    assert text(visitor, "Command line").startswith("nvgctl sample ")
    assert "import nvg" in text(visitor, "Python")
    for button, kind, frames in (
        ("GIF of the stages", "GIF", stages),
        ("Sheet", "PNG", 1),
        ("Contact sheet", "PNG", 1),
    ):
        image = Image.open(io.BytesIO(visitor.download(button)[1]))
        assert image.format == kind
        assert getattr(image, "n_frames", 1) == frames


def test_the_files_of_a_command_come_with_it(visit: Visit) -> None:
    """A command that reads a drawing offers it."""
    visitor = visit()
    visitor.open("draw")
    visitor.tool("rectangle")
    visitor.brush((0.05, 0.05), (0.45, 0.95))
    visitor.make()
    visitor.open("share")
    assert "drawing.png" in text(visitor, "Command line")
    assert visitor.download("Download these files")[1].startswith(b"PK")


def test_a_file_without_a_request_is_refused(visit: Visit) -> None:
    """One line says what is wanted, and the page stays as it is."""
    visitor = visit()
    visitor.page.fill("#seed", "5")
    visitor.drop("body", "other.png", b"no picture")
    visitor.page.locator("#said.error").wait_for()
    assert visitor.page.input_value("#seed") == "5"
