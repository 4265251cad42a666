"""One job at a time, and an error that no one misses."""

import threading
import time
from functools import partial

import pytest

from nvg.training.background import Background


def test_the_next_job_waits_for_the_former() -> None:
    """Never two at a time, in the order they were given."""
    background, seen = Background(), list[str]()

    def job(name: str) -> None:
        seen.append(f"{name} begins")
        time.sleep(0.02)
        seen.append(f"{name} ends")

    for name in "abc":
        background.start(partial(job, name))
    background.wait()
    assert seen == [f"{name} {what}" for name in "abc" for what in ("begins", "ends")]


def test_a_job_runs_beside_the_caller() -> None:
    """`start` and `check` return while it runs; `wait` does not."""
    background, go, done = Background(), threading.Event(), list[int]()

    def job() -> None:
        go.wait(10)
        done.append(1)

    background.start(job)
    background.check()
    assert done == []
    go.set()
    background.wait()
    assert done == [1]


@pytest.mark.parametrize("asked", ["check", "wait", "start"])
def test_an_error_is_raised_once(asked: str) -> None:
    """By whatever is called next, and the work can go on after it."""
    background = Background()

    def fail() -> None:
        raise OSError("full")

    background.start(fail)
    while background._thread and background._thread.is_alive():
        time.sleep(0.001)
    calls = {"check": background.check, "wait": background.wait}
    calls["start"] = lambda: background.start(lambda: None)
    with pytest.raises(OSError, match="full"):
        calls[asked]()
    background.check()
    background.wait()
