"""A job: one request of one page, and what is told of it, from the worker's thread to the page's.

Events are kept until the job is forgotten, so that a page that lost its connection reads on.
"""

import asyncio
import contextlib
import json
import secrets
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from threading import Lock
from typing import Any

from pipeline.sampling.request import Request

ENDS = ("done", "cancelled", "error")
ABANDONED_SECONDS = 30.0  # without a listener, until a job is given up
POLL_SECONDS = 1.0  # between looks at whether the server stops
QUIET_SECONDS = 15.0  # until a comment keeps the connection alive


class UnwantedError(Exception):
    """The job was cancelled, or its page is gone."""


@dataclass
class Job:
    """A request on its way."""

    request: Request
    id: str = field(default_factory=lambda: secrets.token_urlsafe(12))
    events: list[str] = field(default_factory=list)
    """As the stream has them; event n has the id n."""
    place: int | None = None
    """Jobs before it when that was last told."""
    is_cancelled: bool = False
    is_over: bool = False
    lock: Lock = field(default_factory=Lock)
    listeners: set["Listener"] = field(default_factory=set)
    heard: float = field(default_factory=time.monotonic)
    """When somebody last listened."""

    def tell(self, name: str, **data: Any) -> None:
        """Add an event, and wake who listens."""
        text = json.dumps(data, separators=(",", ":"))
        with self.lock:
            self.events.append(f"id: {len(self.events)}\nevent: {name}\ndata: {text}\n\n")
            self.is_over = self.is_over or name in ENDS
            for listener in self.listeners:
                listener.wake()

    @property
    def is_wanted(self) -> bool:
        """Not where it was cancelled, or nobody has listened for long."""
        is_alone = not self.listeners and time.monotonic() - self.heard > ABANDONED_SECONDS
        return not (self.is_cancelled or is_alone)

    def require_wanted(self) -> None:
        """UnwantedError where it is not wanted any more."""
        if not self.is_wanted:
            raise UnwantedError

    async def stream(self, after: int = -1) -> AsyncIterator[str]:
        """The events after one of them, as they come, until the last."""
        listener, quiet = Listener(asyncio.get_running_loop()), 0.0
        with self.lock:
            self.listeners.add(listener)
        try:
            while True:
                with self.lock:
                    fresh, is_over = self.events[after + 1 :], self.is_over
                after, quiet = after + len(fresh), 0.0 if fresh else quiet
                for event in fresh:
                    yield event
                if is_over:
                    return
                if not await listener.wait(POLL_SECONDS):
                    quiet += POLL_SECONDS
                    if quiet >= QUIET_SECONDS:
                        quiet = 0.0
                        yield ": still here\n\n"
        finally:
            with self.lock:
                self.listeners.discard(listener)
                self.heard = time.monotonic()


class Listener:
    """Wakes a coroutine from another thread."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop, self.event = loop, asyncio.Event()

    def wake(self) -> None:
        """Let it look for events; nothing where its loop has ended."""
        with contextlib.suppress(RuntimeError):
            self.loop.call_soon_threadsafe(self.event.set)

    async def wait(self, seconds: float) -> bool:
        """Whether it was woken within that time."""
        try:
            await asyncio.wait_for(self.event.wait(), seconds)
        except TimeoutError:
            return False
        self.event.clear()
        return True
