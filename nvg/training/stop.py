"""Signals that ask a process to end: the first is a request, a second ends it at once.

Ctrl-C sends SIGINT, a closed terminal SIGHUP, Slurm, Kubernetes and spot machines SIGTERM, and a
Slurm job script may ask for SIGUSR1. Whatever is written is written beside its place and renamed,
so that a process may end at any moment.
"""

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

from nvg.errors import Stopped

NAMES = ("SIGINT", "SIGTERM", "SIGHUP", "SIGUSR1")
SIGNALS = [getattr(signal, name) for name in NAMES if hasattr(signal, name)]
SAME_SECONDS = 5.0  # torchrun passes on to its processes a signal that they may have got themselves

_told: list[float] = []  # when this process was first told, until the outermost block ends
_blocks: list[object] = []


@contextmanager
def on_signal(act: Callable[[int], None]) -> Iterator[None]:
    """Call `act` with the number of the first signal that comes inside; a second ends the process.

    A signal that the process was started to ignore (nohup) stays ignored. Outside the main thread
    nothing is changed: only there can signals be handled.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def handle(number: int, frame: FrameType | None) -> None:
        if not _told:
            _told.append(time.monotonic())
            act(number)
        elif not _is_passed_on():
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)

    before = {each: signal.getsignal(each) for each in SIGNALS}
    heard = {each: old for each, old in before.items() if old is not signal.SIG_IGN}
    _blocks.append(handle)
    for each in heard:
        signal.signal(each, handle)
    try:
        yield
    finally:
        for each, old in heard.items():
            signal.signal(each, old)
        _blocks.pop()
        if not _blocks:
            _told.clear()


@contextmanager
def stop_requests() -> Iterator[Callable[[], int]]:
    """Ask inside for the number of the signal that came; 0 before one did."""
    came: list[int] = []
    with on_signal(came.append):
        yield lambda: came[0] if came else 0


@contextmanager
def signals_stop() -> Iterator[None]:
    """A signal raises Stopped in the main thread."""

    def stop(number: int) -> None:
        raise Stopped(number)

    with on_signal(stop):
        yield


def _is_passed_on() -> bool:
    """Whether a second signal may be the first one, passed on by torchrun."""
    return "TORCHELASTIC_RUN_ID" in os.environ and time.monotonic() - _told[0] < SAME_SECONDS
