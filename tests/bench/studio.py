"""The studio on the demo's run: seconds to the first stage and to eight images; memory.

`NVG_RUN` names another run. Requests go through the worker, and their streams are read to the end.
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
from tests.pipeline.studio.makers import heard

REQUESTS, WARM, TIMED = 500, 50, 10


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
    print(f"  {REQUESTS} requests of 1      {time.perf_counter() - began:8.1f} s")
    for after in (WARM, REQUESTS // 2, REQUESTS):
        print(f"  memory after {after:4}        {sizes[after - 1]:8.1f} MiB")


def _ask(worker: Worker, **parts: Any) -> list[tuple[str, Any]]:
    """The events of one request."""
    job = Job(worker.models.complete({"classes": [0], **parts}))
    worker.add(job)
    events = heard(job)
    assert events[-1][0] == "done", events[-1]
    return events
