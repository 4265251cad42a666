"""Work in several threads: all of it, few ahead, errors raised, warnings kept as they were."""

import os
import threading
import time
import warnings
from collections.abc import Iterator

import pytest

from pipeline.images.threads import (
    GROUP,
    MOST_THREADS,
    decode_threads,
    each_in_threads,
    local_processes,
    quiet,
)


@pytest.mark.parametrize("threads", [1, 2, 5])
@pytest.mark.parametrize("count", [0, 1, GROUP, 3 * GROUP + 1])
def test_every_item_is_worked_on_once(threads: int, count: int) -> None:
    """Whatever the number of threads, of items and of groups."""
    done: list[int] = []
    each_in_threads(done.append, range(count), threads)
    assert sorted(done) == list(range(count))


def test_threads_work_at_the_same_time() -> None:
    """Two that wait for each other get on."""
    barrier, met = threading.Barrier(2, timeout=30), list[int]()

    def meet(_: int) -> None:
        met.append(barrier.wait())

    each_in_threads(meet, range(2 * GROUP), 2)
    assert sorted(met) == [0] * GROUP + [1] * GROUP


def test_few_items_are_read_ahead() -> None:
    """A group for each thread."""
    most, done, begun = 0, 0, threading.Lock()

    def work(_: int) -> None:
        nonlocal done
        time.sleep(0.001)
        with begun:
            done += 1

    def items() -> Iterator[int]:
        nonlocal most
        for number in range(40 * GROUP):
            most = max(most, number + 1 - done)
            yield number

    each_in_threads(work, items(), 2)
    assert done == 40 * GROUP
    assert most <= 2 * GROUP


@pytest.mark.parametrize("threads", [1, 2])
def test_an_error_is_raised(threads: int) -> None:
    """Of the work, and of reading the items."""

    def fail(number: int) -> None:
        if number == 20:
            raise KeyError("work")

    def broken() -> Iterator[int]:
        yield from range(20)
        raise OSError("reading")

    with pytest.raises(KeyError, match="work"):
        each_in_threads(fail, range(100), threads)
    with pytest.raises(OSError, match="reading"):
        each_in_threads(fail, broken(), threads)


@pytest.mark.thorough
@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("is_busy", [True, False])
def test_a_stuck_item_is_left_and_the_others_done(
    monkeypatch: pytest.MonkeyPatch, threads: int, is_busy: bool
) -> None:
    """Whether it computes or sleeps; its thread's group goes on in another."""
    monkeypatch.setattr("pipeline.images.threads.LOOK_SECONDS", 0.02)
    monkeypatch.setattr("pipeline.images.threads.MOST_SECONDS", 0.05 if is_busy else 0.01)
    monkeypatch.setattr("pipeline.images.threads.PATIENCE", 1000 if is_busy else 10)
    over, done, left = threading.Event(), list[int](), list[int]()

    def work(number: int) -> None:
        if number in (0, 3, 21):
            while is_busy and not over.is_set():
                sum(range(1000))
            over.wait(30)
        done.append(number)

    each_in_threads(work, range(3 * GROUP), threads, left.append)
    assert sorted(left) == [0, 3, 21]
    assert sorted(done) == sorted(set(range(3 * GROUP)) - {0, 3, 21})
    over.set()


def test_a_slow_machine_makes_no_item_bad(monkeypatch: pytest.MonkeyPatch) -> None:
    """What waits long, and computes little, is not left."""
    monkeypatch.setattr("pipeline.images.threads.LOOK_SECONDS", 0.02)
    monkeypatch.setattr("pipeline.images.threads.MOST_SECONDS", 0.1)
    left: list[int] = []
    each_in_threads(lambda _: time.sleep(0.4), range(2), 2, left.append)
    assert left == []


def test_a_process_has_a_thread_for_each_core() -> None:
    """At least one, and not more than are of use."""
    assert 1 <= decode_threads() <= MOST_THREADS


def test_processes_of_one_machine_share_its_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sixteen cores for four of them; one thread at least."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: range(16))
    for processes, threads in (("1", 16), ("4", 4), ("32", 1)):
        monkeypatch.setenv("LOCAL_WORLD_SIZE", processes)
        assert decode_threads() == threads
        assert local_processes() == int(processes)


def test_overlapping_threads_leave_the_warnings_as_they_were() -> None:
    """The first one in leaves first: those inside stay quiet, and the old filters come back."""
    before, first_out = list(warnings.filters), threading.Event()
    inside, found = threading.Barrier(2, timeout=30), list[str]()

    def first() -> None:
        with quiet():
            inside.wait()
        first_out.set()

    def second() -> None:
        inside.wait()
        with quiet():
            first_out.wait(30)
            warnings.warn("odd", UserWarning, stacklevel=1)  # an error in tests
            found.append("quiet")

    with quiet():
        pair = [threading.Thread(target=each) for each in (first, second)]
        for each in pair:
            each.start()
        for each in pair:
            each.join(30)
    assert found == ["quiet"]
    assert list(warnings.filters) == before
