"""The pictures of docs/STUDIO.md and the README, from a run.

    python -m tests.pipeline.studio.page.pictures runs/demo/generator runs/demo/digits.vgs \
        runs/demo/autoencoder
"""

import argparse
from pathlib import Path

from PIL import Image

from pipeline.studio.models import StudioOptions, open_models
from tests.chromium import CHROMIUM
from tests.pipeline.studio.makers import TOKEN, running
from tests.pipeline.studio.page.visitor import Visitor

FOLDER = Path("docs/gallery")
WIDTH = 1280
COLOURS = 256  # of a picture's palette: half the bytes, and no difference to see


def main() -> None:
    """Visit all parts, and leave a picture of each."""
    options = argparse.ArgumentParser(description=__doc__)
    for name in ("run", "store", "tokenizer"):
        options.add_argument(name, type=Path)
    options.add_argument("--out", type=Path, default=FOLDER)
    given = options.parse_args()
    models = open_models(
        StudioOptions(run=given.run, store=str(given.store), tokenizer=given.tokenizer)
    )
    from playwright.sync_api import sync_playwright

    with running(models) as (port, _), sync_playwright() as play:
        browser = play.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        visitor = Visitor(browser, f"http://127.0.0.1:{port}/?token={TOKEN}")
        take_all(visitor, given.out)
        visitor.leave()
        browser.close()


def take_all(visitor: Visitor, out: Path) -> None:
    """One walk through the studio: make, draw, keep, edit, share."""
    page = visitor.page
    visitor.choose(3, 5)
    visitor.make()
    picture(visitor, out / "studio-make.png")
    visitor.open("draw")
    visitor.tool("rectangle")
    visitor.brush((0.3, 0.05), (0.7, 0.95))
    page.locator("#draw-hierarchy figure").first.wait_for()
    visitor.choose(1, 8)
    visitor.make()
    picture(visitor, out / "studio-draw.png")
    page.locator("#images button").last.click()
    page.click("#to-keep")
    visitor.choose(3)
    page.fill("#seed", "1")
    visitor.make()
    picture(visitor, out / "studio-keep.png")
    page.click("#to-edit")
    visitor.tool("rectangle")
    visitor.brush((0.05, 0.55), (0.95, 0.95))
    page.fill("#seed", "2")
    visitor.make()
    picture(visitor, out / "studio-edit.png")
    visitor.open("share")
    picture(visitor, out / "studio-share.png")


def picture(visitor: Visitor, path: Path) -> None:
    """The whole page, in a window that is high enough for it."""
    page = visitor.page
    page.set_viewport_size({"width": WIDTH, "height": 700})
    page.evaluate("scrollTo(0, 0)")
    height = page.evaluate("document.querySelector('main').getBoundingClientRect().bottom")
    page.set_viewport_size({"width": WIDTH, "height": round(height) + 8})
    page.evaluate("document.activeElement.blur()")
    page.mouse.move(1, 1)
    page.wait_for_timeout(300)
    page.screenshot(path=path)
    with Image.open(path) as image:
        image.convert("RGB").quantize(COLOURS, dither=Image.Dither.NONE).save(path, optimize=True)


if __name__ == "__main__":
    main()
