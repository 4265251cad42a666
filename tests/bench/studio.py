"""The studio on the demo's run: seconds to the first stage and to eight images; memory.

`NVG_RUN` names another run. Requests go through the worker, and their streams are read to the end.
The same is then seen in a browser, Chromium, by a page that notes when what is new is painted.
"""

import os
import statistics
import time
from pathlib import Path
from typing import Any

import psutil

from pipeline.studio.job import Job
from pipeline.studio.models import StudioOptions, open_models
from pipeline.studio.worker import Worker
from tests.bench.measure import machine
from tests.chromium import CHROMIUM
from tests.pipeline.studio.makers import TOKEN, heard, running

REQUESTS, WARM, TIMED = 500, 50, 10
WARMED = 2  # visits that are not counted
SEEN = """
window.seen = {};
const note = name => requestAnimationFrame(() => { window.seen[name] ??= performance.now(); });
new MutationObserver(() => {
    if (document.body?.dataset.ready !== undefined) note("page");
    if (!window.asked) return;
    if (!document.querySelector("#strip img")) return;
    note("stage");
    if (document.querySelector("#cancel").checkVisibility()) return;
    note("done");
}).observe(document, {subtree: true, childList: true, attributes: true});
document.addEventListener("click", event => {
    if (event.target.closest("#make")) window.asked = performance.now();
}, true);
"""
"""Milliseconds since the page was asked for, at the next frame after each has come."""


def main() -> None:
    """Print the figures."""
    run = Path(os.environ.get("NVG_RUN", "runs/demo/generator"))
    worker = Worker(open_models(StudioOptions(run=run)))
    print(f"studio: {run}; {machine()}")
    _ask(worker, number=8)
    told = [_ask(worker, number=8, seed=seed) for seed in range(TIMED)]
    for name in ("stage", "done"):
        seconds = [next(data["seconds"] for event, data in each if event == name) for each in told]
        what = {"stage": "first stage", "done": "8 images"}[name]
        print(f"  {what:24} {statistics.median(seconds):8.3f} s")
    process, sizes, began = psutil.Process(), [], time.perf_counter()
    for number in range(REQUESTS):
        _ask(worker, number=1, seed=number, settings={"flow_steps": 1})
        sizes.append(process.memory_info().rss / 2**20)
    worker.close()
    _report_page(run)
    print(f"  {REQUESTS} requests of 1      {time.perf_counter() - began:8.1f} s")
    for after in (WARM, REQUESTS // 2, REQUESTS):
        print(f"  memory after {after:4}        {sizes[after - 1]:8.1f} MiB")


def _report_page(run: Path) -> None:
    """What a visitor with a fresh browser waits for, medians of TIMED visits."""
    if not CHROMIUM:
        print("  no Chromium (./justw browser): the page is left out")
        return
    from playwright.sync_api import sync_playwright

    told: list[dict[str, float]] = []
    with running(open_models(StudioOptions(run=run))) as (port, _), sync_playwright() as play:
        browser = play.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        for _ in range(WARMED + TIMED):
            told.append(_visit(browser, f"http://127.0.0.1:{port}/?token={TOKEN}"))
        browser.close()
    for name, what in (("page", "page"), ("stage", "first stage"), ("done", "8 images")):
        seconds = statistics.median(each[name] for each in told[WARMED:]) / 1000
        print(f"  in a browser: {what:11} {seconds:7.3f} s")


def _visit(browser: Any, address: str) -> dict[str, float]:
    """Milliseconds from the address to the page, and from the button to what it makes."""
    context = browser.new_context()
    page = context.new_page()
    page.add_init_script(SEEN)
    page.goto(address)
    page.locator("body[data-ready]").wait_for()
    page.fill("#number", "8")
    page.click("#make")
    page.locator("#strip img").first.wait_for()
    page.locator("#cancel").wait_for(state="hidden")
    page.wait_for_timeout(100)  # until that is painted
    seen: dict[str, float] = page.evaluate("window.seen")
    asked: float = page.evaluate("window.asked")
    context.close()
    return {name: at - asked * (name != "page") for name, at in seen.items()}


def _ask(worker: Worker, **parts: Any) -> list[tuple[str, Any]]:
    """The events of one request."""
    job = Job(worker.models.complete({"classes": [0], **parts}))
    worker.add(job)
    events = heard(job)
    assert events[-1][0] == "done", events[-1]
    return events
