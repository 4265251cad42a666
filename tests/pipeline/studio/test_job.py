"""Events of a job, from the thread that computes to the loops that listen."""

import asyncio
import threading

import pytest

from pipeline.studio import job as module
from pipeline.studio.job import Job, UnwantedError
from tests.pipeline.sampling.makers import a_request
from tests.pipeline.studio.makers import heard, parse_events


def test_every_listener_hears_all() -> None:
    """As another thread tells it; one who comes late hears it too, or from where they were."""
    job = Job(a_request())

    def tell() -> None:
        for number in range(3):
            job.tell("stage", stage=number)
        job.tell("done")

    async def two() -> list[str]:
        async def listen() -> str:
            return "".join([event async for event in job.stream()])

        listening = [asyncio.create_task(listen()) for _ in range(2)]
        while len(job.listeners) < 2:
            await asyncio.sleep(0)
        teller = threading.Thread(target=tell)
        teller.start()
        found = await asyncio.gather(*listening)
        teller.join()
        return found

    wanted = [("stage", {"stage": n}) for n in range(3)] + [("done", {})]
    assert [parse_events(text) for text in asyncio.run(two())] == [wanted] * 2
    assert heard(job) == wanted
    assert heard(job, after=1) == wanted[2:]
    assert heard(job, after=99) == []
    assert job.events[2].startswith("id: 2\n")
    assert not job.listeners


def test_a_silent_stream_is_kept_alive(monkeypatch: pytest.MonkeyPatch) -> None:
    """By comments, which no page sees."""
    monkeypatch.setattr(module, "POLL_SECONDS", 0.001)
    monkeypatch.setattr(module, "QUIET_SECONDS", 0.002)
    job = Job(a_request())

    async def first() -> str:
        async for event in job.stream():
            return event
        return ""

    assert asyncio.run(asyncio.wait_for(first(), 20)) == ": still here\n\n"


def test_jobs_are_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """When they are cancelled, or nobody has listened for long."""
    job = Job(a_request())
    job.require_wanted()
    monkeypatch.setattr(module, "ABANDONED_SECONDS", -1.0)
    with pytest.raises(UnwantedError):
        job.require_wanted()
    monkeypatch.undo()
    job.is_cancelled = True
    with pytest.raises(UnwantedError):
        job.require_wanted()
