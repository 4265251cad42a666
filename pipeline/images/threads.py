"""Decoding in several threads: Pillow lets go of the interpreter while it decodes and resizes."""

import os
import warnings
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from itertools import islice
from threading import Lock
from typing import TypeVar

Item = TypeVar("Item")

MOST_THREADS = 16  # beyond, they wait for the interpreter, which the rest of the work needs
GROUP = 8  # items handed to a thread at once: small images take less time than the handing over
GROUPS_AHEAD = 2  # groups for each thread, beyond which no more are read


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


def each_in_threads(work: Callable[[Item], None], items: Iterable[Item], threads: int) -> None:
    """Apply `work` to every item, in any order; read the items in this thread, few ahead.

    The first error is raised, when no thread works any more.
    """
    if threads == 1:
        for item in items:
            work(item)
        return

    def work_on(group: list[Item]) -> None:
        for item in group:
            work(item)

    source, waiting = iter(items), deque[Future[None]]()
    with ThreadPoolExecutor(threads) as pool:
        while group := list(islice(source, GROUP)):
            if len(waiting) == GROUPS_AHEAD * threads:
                waiting.popleft().result()
            waiting.append(pool.submit(work_on, group))
        for each in waiting:
            each.result()


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
