"""What is said when the object store of a cluster is full."""

import itertools

import pytest

from pipeline.spilling import Spilling


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The time in seconds, which a test sets."""
    now = [0.0]
    monkeypatch.setattr("pipeline.spilling.time.monotonic", lambda: now[0])
    return now


def test_it_is_said_once_in_one_line(clock: list[float], caplog: pytest.LogCaptureFixture) -> None:
    """From what was written before the pass on, with what to change."""
    found = itertools.chain([5_000_000_000, 7_500_000_000], itertools.repeat(9_000_000_000))
    spilling = Spilling(lambda: next(found))
    for clock[0] in (31.0, 62.0, 93.0):
        spilling.look()
    spilling.look(now=True)
    (line,) = caplog.messages
    assert "has written 2.5 GB to disk" in line
    assert "lower tokenize.chunk_rows" in line
    assert "\n" not in line


def test_the_cluster_is_asked_now_and_then(
    clock: list[float], caplog: pytest.LogCaptureFixture
) -> None:
    """Not for every chunk; at the end of a pass whatever the time."""
    asked: list[float] = []

    def spilled() -> int:
        asked.append(clock[0])
        return 0

    spilling = Spilling(spilled)
    for clock[0] in (1.0, 2.0, 31.0, 32.0):
        spilling.look()
    spilling.look(now=True)
    assert asked == [0.0, 31.0, 32.0]
    assert not caplog.messages


def test_a_cluster_that_does_not_tell_is_left_alone(
    clock: list[float], caplog: pytest.LogCaptureFixture
) -> None:
    """The call is none of Ray's public ones, and a pass must not end for a remark."""

    def missing() -> int:
        raise ImportError("moved")

    Spilling(missing).look(now=True)
    assert not caplog.messages
