"""The browser of the tests: Debian's Chromium, headless."""

import shutil
from typing import Any

# The shell has no windows to draw: it takes a third of the time.
NAMES = ("chromium-headless-shell", "chromium", "chromium-browser")
CHROMIUM = next(filter(None, map(shutil.which, NAMES)), None)


class Chromium:
    """One serves all tests that need it: to start one takes seconds."""

    def __init__(self) -> None:
        self.play: Any = None
        self.running: Any = None

    def started(self) -> Any:
        """Once."""
        from playwright.sync_api import sync_playwright

        if not self.running:
            self.play = sync_playwright().start()
            self.running = self.play.chromium.launch(
                executable_path=CHROMIUM, args=["--no-sandbox"]
            )
        return self.running

    def stop(self) -> None:
        """Its event loop would be in the way of other tests."""
        if self.running:
            self.running.close()
            self.play.stop()
        self.play = self.running = None
