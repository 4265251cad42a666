"""A visitor of the studio's page: a browser's tab that notes whatever should not happen."""

import io
from pathlib import Path
from typing import Any

from PIL import Image

VIOLATIONS = """
window.violations = [];
document.addEventListener("securitypolicyviolation",
    event => window.violations.push(`${event.violatedDirective} ${event.blockedURI}`));
"""
DROP = """([selector, bytes, name, type]) => {
    const transfer = new DataTransfer();
    transfer.items.add(new File([Uint8Array.from(bytes)], name, {type}));
    const drop = new DragEvent("drop", {dataTransfer: transfer, bubbles: true, cancelable: true});
    document.querySelector(selector).dispatchEvent(drop);
}"""
WAIT = 30_000  # milliseconds until a job of the tiny model must be over


class Visitor:
    """A tab on the studio at `address`; `faults` must be empty at the end."""

    def __init__(self, browser: Any, address: str, width: int = 1280, **context: Any) -> None:
        self.origin = address.partition("?")[0].rstrip("/")
        self.context = browser.new_context(
            viewport={"width": width, "height": 900}, accept_downloads=True, **context
        )
        self.context.add_init_script(VIOLATIONS)
        self.page = self.context.new_page()
        self.faults: list[str] = []
        self.page.on("request", self._requested)
        self.page.on("pageerror", lambda error: self.faults.append(f"error: {error}"))
        self.page.on("console", self._logged)
        self.page.goto(address)
        self.page.locator("body[data-ready]").wait_for()

    def _requested(self, request: Any) -> None:
        if not request.url.startswith((self.origin, "data:", "blob:")):
            self.faults.append(f"foreign request: {request.url}")

    def _logged(self, message: Any) -> None:
        # The browser itself logs each refused upload; the page shows the reason.
        if message.type == "error" and "Failed to load resource" not in message.text:
            self.faults.append(f"console: {message.text}")

    def leave(self) -> None:
        """Close the tab; AssertionError when anything went wrong that no test looked at."""
        violations = self.page.evaluate("window.violations")
        self.context.close()
        assert self.faults == []
        assert violations == []

    def open(self, part: str) -> None:
        """One of the five parts, by its tab."""
        self.page.click(f"#tab-{part}")
        self.page.locator(f"#panel-{part}").wait_for()

    def choose(self, *ids: int) -> None:
        """Exactly these classes."""
        if self.page.locator("#class-none").is_enabled():
            self.page.click("#class-none")
        for each in ids:
            self.page.click(f"#class-list [data-class='{each}']")

    def make(self) -> str:
        """Press the button and wait for the end; what the page says then."""
        return self.made(self.begin())

    def begin(self) -> int:
        """Press the button; how many results there were."""
        before = self.page.locator("#history button").count()
        self.page.click("#make")
        return before

    def made(self, before: int) -> str:
        """Wait for the end of what `begin` began, however soon; what the page says then."""
        self.page.locator("#history button").nth(before).wait_for(timeout=WAIT)
        return self.wait()

    def wait(self) -> str:
        """Until nothing is made any more; what the page says then."""
        self.page.locator("#cancel").wait_for(state="hidden", timeout=WAIT)
        return str(self.page.text_content("#said"))

    def images(self) -> list[str]:
        """The data URIs of the images at the stage of the slider."""
        found = self.page.locator("#images img")
        return [found.nth(n).get_attribute("src") for n in range(found.count())]

    def film(self) -> list[tuple[str, str]]:
        """Structure and canvas of each stage of the chosen image, as data URIs."""
        found = self.page.locator("#strip img").evaluate_all("all => all.map(one => one.src)")
        return list(zip(found[::2], found[1::2], strict=True))

    def brush(self, *places: tuple[float, float]) -> None:
        """A stroke through places of the painted canvas, in fractions of its side."""
        canvas = self.page.locator("canvas.paint:visible")
        canvas.scroll_into_view_if_needed()
        box = canvas.bounding_box()
        points = [(box["x"] + x * box["width"], box["y"] + y * box["height"]) for x, y in places]
        self.page.mouse.move(*points[0])
        self.page.mouse.down()
        for point in points[1:]:
            self.page.mouse.move(*point, steps=4)
        self.page.mouse.up()

    def tool(self, name: str) -> None:
        """Choose a tool of the painter that is open."""
        self.page.locator(f"[data-tool={name}]:visible").click()

    def upload(self, button: str, name: str, data: bytes | Path) -> None:
        """A file, by its bytes or where it is, through the dialog behind a button."""
        with self.page.expect_file_chooser() as opened:
            self.page.locator("button:visible", has_text=button).click()
        kind = "image/png" if name.endswith("png") else "application/octet-stream"
        given: Any = data
        if isinstance(data, bytes):
            given = {"name": name, "mimeType": kind, "buffer": data}
        opened.value.set_files(given)

    def drop(self, selector: str, name: str, data: bytes) -> None:
        """A file dropped on a part of the page."""
        self.page.evaluate(DROP, [selector, list(data), name, "image/png"])

    def download(self, button: str) -> tuple[str, bytes]:
        """Name and bytes of the file behind a button of Share."""
        with self.page.expect_download() as got:
            self.page.locator("#share-body").get_by_role("button", name=button, exact=True).click()
        return got.value.suggested_filename, Path(got.value.path()).read_bytes()

    def says(self, text: str) -> None:
        """Wait until the page says something with these words."""
        self.page.locator("#said", has_text=text).wait_for()


def png(image: Image.Image) -> bytes:
    """An image as the bytes of a PNG."""
    buffer = io.BytesIO()
    image.save(buffer, "png")
    return buffer.getvalue()
