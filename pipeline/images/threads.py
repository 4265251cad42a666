"""Decoding in several threads: Pillow lets go of the interpreter while it decodes and resizes."""

import os
import time
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from itertools import islice
from threading import Lock, Thread
from typing import Generic, TypeVar

Item = TypeVar("Item")

MOST_THREADS = 16  # beyond, they wait for the interpreter, which the rest of the work needs
GROUP = 8  # items handed to a thread at once: small images take less time than the handing over
MOST_SECONDS = 60.0  # of a processor for one item; the largest pictures take some seconds
PATIENCE = 10  # times as long by the clock on the wall, for one that sleeps
LOOK_SECONDS = 1.0  # between two looks at what the threads do


def decode_threads() -> int:
    """One for each core that this process may use, up to MOST_THREADS.

    Processes of one machine that work together share its cores.
    """
    if hasattr(os, "sched_getaffinity"):
        cores = len(os.sched_getaffinity(0))
    else:
        cores = os.cpu_count() or 1
    return min(max(cores // local_processes(), 1), MOST_THREADS)


def local_processes() -> int:
    """How many processes torchrun or Ray Train started on this machine to work together."""
    return int(os.environ.get("LOCAL_WORLD_SIZE", "1"))


def each_in_threads(
    work: Callable[[Item], None],
    items: Iterable[Item],
    threads: int,
    leave: Callable[[Item], None] | None = None,
) -> None:
    """Apply `work` to every item, in any order; a thread reads its next items itself, few ahead.

    The first error is raised, when no thread works any more. With `leave`, an item that takes
    longer than MOST_SECONDS is given to that, and its thread, which cannot be ended, left alone;
    what `work` still does with the item must then count for nothing.
    """
    if threads == 1 and leave is None:
        for item in items:
            work(item)
        return
    _Crew(work, iter(items)).run(threads, leave)


class _Crew(Generic[Item]):
    """Threads over one iterator. As daemons they keep no process alive that is told to end."""

    def __init__(self, work: Callable[[Item], None], items: Iterator[Item]) -> None:
        self.work, self.items, self.reading = work, items, Lock()
        self.errors: list[BaseException] = []

    def run(self, threads: int, leave: Callable[[Item], None] | None) -> None:
        """Until all is done, or the first error."""
        try:
            waiting = [_Hand(self, []) for _ in range(threads)]
            while waiting:
                hand = waiting[0]
                hand.thread.join(LOOK_SECONDS)
                if not hand.thread.is_alive():
                    waiting.pop(0)
                elif leave:
                    waiting = [self._relieved(each, leave) for each in waiting]
        except BaseException as error:
            self.errors.append(error)  # the threads stop
            raise
        if self.errors:
            raise self.errors[0]

    def _relieved(self, hand: "_Hand[Item]", leave: Callable[[Item], None]) -> "_Hand[Item]":
        """The thread, or one that does the rest of its group where it is stuck."""
        with hand.guard:
            if not hand.is_stuck():
                return hand
            hand.is_left = True
        item, *rest = hand.group
        leave(item)
        return _Hand(self, rest)

    def next_group(self) -> list[Item]:
        """Items for one thread; none when there are no more, or after an error."""
        with self.reading:
            return [] if self.errors else list(islice(self.items, GROUP))


class _Hand(Generic[Item]):
    """One thread of a crew; the first of its group is what it works on."""

    def __init__(self, crew: _Crew[Item], group: list[Item]) -> None:
        self.crew, self.group, self.is_left = crew, group, False
        self.guard = Lock()
        self.number, self.looked, self.clock, self.cpu = 0, -1, 0.0, 0.0
        self.thread = Thread(target=self._labour, daemon=True)
        self.thread.start()

    def _labour(self) -> None:
        try:
            while self.group or self._take():
                self.crew.work(self.group[0])
                with self.guard:
                    if self.is_left:
                        return
                    self.group.pop(0)
                    self.number += 1
        except BaseException as error:
            if not self.is_left:
                self.crew.errors.append(error)

    def _take(self) -> bool:
        self.group = self.crew.next_group()
        return bool(self.group)

    def is_stuck(self) -> bool:
        """Whether it has worked too long on one item: by its processor's clock, or by the wall's.

        Other work on the machine makes no picture a bad one. Nothing is measured before a look.
        """
        if self.looked != self.number or not self.group:
            self.looked, self.clock, self.cpu = self.number, time.monotonic(), self._seconds()
            return False
        is_slow = self._seconds() - self.cpu > MOST_SECONDS
        return is_slow or time.monotonic() - self.clock > PATIENCE * MOST_SECONDS

    def _seconds(self) -> float:
        """Of the processor; by the wall where the system does not say."""
        if not hasattr(time, "pthread_getcpuclockid") or self.thread.ident is None:
            return time.monotonic()
        try:
            return time.clock_gettime(time.pthread_getcpuclockid(self.thread.ident))
        except OSError:  # it has ended just now
            return self.cpu


class _Quiet:
    """No warnings while any thread is inside.

    `warnings.catch_warnings` alone is for one thread: of two that overlap, the last one out would
    leave the filters of the first one in.
    """

    def __init__(self) -> None:
        self.lock, self.inside = Lock(), 0
        self.kept = warnings.catch_warnings()

    @contextmanager
    def __call__(self) -> Iterator[None]:
        with self.lock:
            if self.inside == 0:
                self.kept = warnings.catch_warnings()
                self.kept.__enter__()
                warnings.simplefilter("ignore")
            self.inside += 1
        try:
            yield
        finally:
            with self.lock:
                self.inside -= 1
                if self.inside == 0:
                    self.kept.__exit__(None, None, None)


quiet = _Quiet()
