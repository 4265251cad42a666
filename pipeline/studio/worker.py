"""The one thread that computes: jobs in order, and between their stages what pages ask.

It alone uses the networks, so that nothing else changes torch's switches or its load meanwhile.
"""

import logging
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from threading import Condition, Thread
from typing import Any

from nvg.errors import InputError, WorkError
from pipeline.studio.job import Job, UnwantedError
from pipeline.studio.models import Models
from pipeline.studio.sampling import sample_job

MOST_QUEUED = 16  # jobs that wait
MOST_ASKED = 32  # questions that wait
MOST_KEPT = 4  # jobs that are over, for pages that lost their connection

log = logging.getLogger("nvg")


class BusyError(InputError):
    """The queue is full."""


class Worker:
    """A thread and its two queues."""

    def __init__(self, models: Models) -> None:
        self.models = models
        self.waiting: deque[Job] = deque()
        self.asked: deque[tuple[Callable[[Models], Any], Future[Any]]] = deque()
        self.running: Job | None = None
        self.over: deque[Job] = deque(maxlen=MOST_KEPT)
        self.changed = Condition()
        self.is_closing = False
        self.thread = Thread(target=self._work, name="studio", daemon=True)
        self.thread.start()

    def add(self, job: Job) -> int:
        """Queue a job: how many are before it. BusyError where too many wait."""
        with self.changed:
            for left in [each for each in self.waiting if not each.is_wanted]:
                self._drop(left)
            if len(self.waiting) >= MOST_QUEUED:
                raise BusyError(f"{MOST_QUEUED} requests wait already: try again in a while")
            self.waiting.append(job)
            self._tell_places()
            self.changed.notify()
            return job.place or 0

    def find(self, id: str) -> Job | None:
        """A job that waits, runs, or was over not long ago."""
        with self.changed:
            known = [*self.waiting, *self.over, *([self.running] if self.running else [])]
        return next((job for job in known if job.id == id), None)

    def cancel(self, job: Job) -> None:
        """End a job: before it begins, or before the next evaluation of a network."""
        job.is_cancelled = True
        with self.changed:
            if job in self.waiting:
                self._drop(job)
                self._tell_places()

    def ask(self, function: Callable[[Models], Any]) -> Future[Any]:
        """What a function of the models returns, computed at the next chance. BusyError."""
        future: Future[Any] = Future()
        with self.changed:
            if len(self.asked) >= MOST_ASKED:
                raise BusyError("too many pages ask at once: try again in a while")
            self.asked.append((function, future))
            self.changed.notify()
        return future

    def close(self, seconds: float = 5.0) -> None:
        """Cancel all, and wait so long for the thread to end."""
        with self.changed:
            self.is_closing = True
            for job in (*self.waiting, *([self.running] if self.running else [])):
                job.is_cancelled = True
            self.changed.notify()
        self.thread.join(seconds)

    def _work(self) -> None:
        while True:
            with self.changed:
                self.changed.wait_for(lambda: self.waiting or self.asked or self.is_closing)
                if self.is_closing:
                    return
            self._answer()
            with self.changed:
                self.running = self.waiting.popleft() if self.waiting else None
                self._tell_places()
            if self.running:
                self._run(self.running)

    def _run(self, job: Job) -> None:
        try:
            job.require_wanted()
            job.tell("started")
            sample_job(self.models, job, between=self._answer)
        except UnwantedError:
            job.tell("cancelled")
        except (InputError, WorkError) as error:
            job.tell("error", error=str(error))
        except Exception as error:  # out of memory, a damaged store: the studio goes on
            log.exception("a request failed")
            first = (str(error).strip().splitlines() or [type(error).__name__])[0]
            job.tell("error", error=f"failed: {first}")
        with self.changed:
            self.running = None
            self.over.append(job)

    def _answer(self) -> None:
        """What was asked up to now."""
        while True:
            with self.changed:
                if not self.asked:
                    return
                function, future = self.asked.popleft()
            if future.set_running_or_notify_cancel():
                try:
                    future.set_result(function(self.models))
                except Exception as error:  # the asker's to hear
                    future.set_exception(error)

    def _tell_places(self) -> None:
        """To every job that waits, where that has changed."""
        for place, job in enumerate(self.waiting, start=int(self.running is not None)):
            if job.place != place:
                job.place = place
                job.tell("queued", place=place)

    def _drop(self, job: Job) -> None:
        """Take a job that waits out of the queue."""
        self.waiting.remove(job)
        self.over.append(job)
        job.tell("cancelled")
