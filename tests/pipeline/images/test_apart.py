"""Calls in a process of their own: results and errors as here, and limits that end it alone."""

import itertools
import os
import signal
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from pipeline.images.apart import Apart
from pipeline.images.decode import TOO_LONG, TOO_MUCH_MEMORY, ImageError, decode_views
from tests.pipeline.images.makers import image_bytes, picture


@pytest.fixture(scope="module")
def apart() -> Iterator[Apart]:
    """A process, begun anew by the test after one that ended it."""
    with Apart() as opened:
        yield opened


def test_what_is_called_apart_is_as_here(apart: Apart) -> None:
    """Another process, which stays for the next call; its errors are raised."""
    first, second = apart.call(os.getpid), apart.call(os.getpid)
    assert first == second != os.getpid()
    with pytest.raises(ImageError, match="not an image"):
        apart.call(decode_views, b"odd", None)
    with pytest.raises(ZeroDivisionError):
        apart.call(divmod, 1, 0)


@pytest.mark.parametrize(
    ("work", "argument", "reason"),
    [
        (signal.raise_signal, signal.SIGSEGV, "its decoder ends the process (SIGSEGV)"),
        (signal.raise_signal, signal.SIGKILL, "its decoder is killed: out of memory?"),
        (os._exit, 3, "its decoder ends the process (exit code 3)"),
        (bytearray, 8 << 30, TOO_MUCH_MEMORY),
        pytest.param(all, itertools.repeat(True), TOO_LONG, marks=pytest.mark.thorough),
        pytest.param(time.sleep, 60, TOO_LONG, marks=pytest.mark.thorough),
    ],
)
def test_what_ends_the_process_is_named(
    apart: Apart,
    monkeypatch: pytest.MonkeyPatch,
    work: Callable[[Any], object],
    argument: Any,
    reason: str,
) -> None:
    """By a crash, its memory or the clock, of processor or wall; the next call works."""
    apart.call(os.getpid)
    monkeypatch.setattr("pipeline.images.threads.MOST_SECONDS", 1)
    with pytest.raises(ImageError) as raised:
        apart.call(work, argument)
    assert str(raised.value) == reason
    assert apart.call(len, image_bytes(picture(), "png")) > 0


def test_nothing_runs_after_the_block() -> None:
    """Nor is anything begun before the first call."""
    with Apart() as apart:
        assert apart.process is None
        number = apart.call(os.getpid)
    with pytest.raises(ProcessLookupError):
        os.kill(number, 0)
