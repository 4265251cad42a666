"""The thread that computes: order, cancelling, questions between stages, faults."""

import threading
from dataclasses import replace
from typing import Any

import pytest

from nvg.errors import InputError, WorkError
from pipeline.studio import worker as module
from pipeline.studio.job import Job
from pipeline.studio.models import Models
from pipeline.studio.worker import BusyError, Worker
from tests.pipeline.studio.makers import FREE, heard, names, parse_events


def job_of(models: Models, **parts: Any) -> Job:
    """A job of a free request."""
    return Job(models.complete({**FREE, **parts}))


def names_of(job: Job) -> list[str]:
    """What a job has told up to now, without the progress."""
    return names(parse_events("".join(job.events)))


class Gate:
    """Holds the worker until it is opened."""

    def __init__(self, worker: Worker) -> None:
        self.open, self.reached = threading.Event(), threading.Event()
        worker.ask(self.wait)
        assert self.reached.wait(20)

    def wait(self, models: Models) -> None:
        self.reached.set()
        assert self.open.wait(20)


def test_jobs_are_done_in_order(worker: Worker, models: Models) -> None:
    """Each hears its place; the last is told of all stages, and found for a while after."""
    gate = Gate(worker)
    jobs = [job_of(models, seed=n) for n in range(3)]
    assert [worker.add(job) for job in jobs] == [0, 1, 2]
    gate.open.set()
    told = [heard(job) for job in jobs]
    assert [data["place"] for name, data in told[2] if name == "queued"] == [2, 1]
    for events in told:
        assert names(events)[-7:] == ["started", *["stage"] * 5, "done"]
    assert worker.find(jobs[0].id) is jobs[0]
    assert worker.find("x") is None


def test_a_job_that_waits_is_taken_out(worker: Worker, models: Models) -> None:
    """It hears so, and those behind it move up."""
    gate = Gate(worker)
    jobs = [job_of(models) for _ in range(3)]
    for job in jobs:
        worker.add(job)
    worker.cancel(jobs[1])
    assert names(heard(jobs[1])) == ["queued", "cancelled"]
    assert jobs[2].place == 1
    gate.open.set()
    assert names(heard(jobs[2]))[-1] == "done"


def test_a_running_job_ends_before_the_next_step(
    worker: Worker, models: Models, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whichever of 200 steps it is in: not one more is computed."""
    job = job_of(models, settings={"flow_steps": 200})
    calls, forward = [0], type(models.generators.structure).forward

    def counted(*given: Any, **named: Any) -> Any:
        calls[0] += 1
        if calls[0] == 7:
            worker.cancel(job)
        return forward(*given, **named)

    monkeypatch.setattr(type(models.generators.structure), "forward", counted)
    worker.add(job)
    assert names(heard(job)) == ["queued", "started", "stage", "cancelled"]
    assert calls == [7]
    assert worker.ask(lambda models: 3).result(20) == 3


def test_questions_are_answered_between_stages(worker: Worker, models: Models) -> None:
    """Not only after the job; what fails is the asker's to hear."""
    job = job_of(models)
    tell, seen = job.tell, []

    def told(name: str, **data: Any) -> None:
        tell(name, **data)
        if name == "stage":
            number = data["stage"]
            worker.ask(lambda models: seen.append((number, names_of(job)[-1])))

    def fail(models: Models) -> None:
        raise InputError("no")

    job.tell = told  # type: ignore[method-assign]
    worker.add(job)
    assert names(heard(job))[-1] == "done"
    assert seen == [(number, "stage") for number in range(5)]
    with pytest.raises(InputError, match="no"):
        worker.ask(fail).result(20)


@pytest.mark.parametrize("error", [InputError("bad"), WorkError("bad"), KeyError("bad")])
def test_a_failed_job_is_one_line(
    worker: Worker, models: Models, error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And the next one is done."""

    def fail(*_: object, **__: object) -> None:
        raise error

    with monkeypatch.context() as changed:
        changed.setattr(module, "sample_job", fail)
        job = job_of(models)
        worker.add(job)
        events = heard(job)
    assert names(events)[-1] == "error"
    assert "bad" in events[-1][1]["error"]
    after = job_of(models)
    worker.add(after)
    assert names(heard(after))[-1] == "done"


def test_the_queues_are_bounded(
    worker: Worker, models: Models, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who comes too late is told so; a job that nobody waits for makes room."""
    monkeypatch.setattr(module, "MOST_QUEUED", 2)
    monkeypatch.setattr(module, "MOST_ASKED", 1)
    gate = Gate(worker)
    first, second = job_of(models), job_of(models)
    worker.add(first)
    worker.add(second)
    with pytest.raises(BusyError, match="2 requests wait already"):
        worker.add(job_of(models))
    worker.ask(lambda models: None)
    with pytest.raises(BusyError, match="too many pages"):
        worker.ask(lambda models: None)
    first.heard -= 1000
    third = job_of(models)
    assert worker.add(third) == 1
    assert names(heard(first))[-1] == "cancelled"
    gate.open.set()
    assert names(heard(third))[-1] == "done"


def test_closing_ends_what_runs(models: Models) -> None:
    """Within a step."""
    worker = Worker(models)
    request = models.complete({**FREE, "settings": {"flow_steps": 200}})
    job = Job(replace(request, number=32))
    worker.add(job)
    while "event: started" not in "".join(job.events):
        threading.Event().wait(0.01)
    worker.close(30)
    assert not worker.thread.is_alive()
    assert names(heard(job))[-1] == "cancelled"
