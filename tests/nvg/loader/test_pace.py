"""How much is read at once, from what was measured."""

import pytest

from nvg.loader.pace import MOST_AHEAD, MOST_THREADS, Pace, cores


@pytest.fixture(autouse=True)
def two_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    """This process has two."""
    monkeypatch.setattr("os.cpu_count", lambda: 2)
    monkeypatch.delenv("LOCAL_WORLD_SIZE", raising=False)


def paced(waited: float, worked: float) -> Pace:
    """After many chunks alike."""
    pace = Pace(is_far=False)
    for _ in range(500):
        pace.saw(waited, worked)
    return pace


@pytest.mark.parametrize(
    ("waited", "worked", "threads", "ahead"),
    [
        (0.0002, 0.003, 2, 1),  # a disk whose pages are cached
        (0.010, 0.005, 6, 1),
        (0.050, 0.005, 22, 2),
        (0.050, 0.002, 52, 4),
        (5.0, 0.001, MOST_THREADS, MOST_AHEAD),
        (0.0, 0.0, 2, 1),
    ],
)
def test_threads_keep_the_cores_busy_while_chunks_are_waited_for(
    waited: float, worked: float, threads: int, ahead: int
) -> None:
    """One a core, and one more for each chunk that could be worked on meanwhile."""
    pace = paced(waited, worked)
    assert pace.threads == threads
    assert pace.ahead(16, 1 << 20) == ahead


def test_a_short_wait_counts_at_once() -> None:
    """Long ones little by little: a line that many threads fill makes each of them wait."""
    pace = paced(0.5, 0.005)
    assert pace.threads == MOST_THREADS
    pace.saw(0.001, 0.005)
    assert pace.threads == 2
    pace.saw(0.5, 0.005)
    assert pace.threads < MOST_THREADS / 4


def test_windows_ahead_are_bounded_in_memory() -> None:
    """But one is always read ahead."""
    pace = paced(1.0, 0.001)
    assert pace.ahead(16, 1 << 20) == MOST_AHEAD
    assert pace.ahead(16, 400 << 20) == 2
    assert pace.ahead(16, 2 << 30) == 1


def test_a_network_is_expected_to_be_slow() -> None:
    """Until it is measured to be near."""
    pace = Pace(is_far=True)
    assert pace.threads > 16
    for _ in range(500):
        pace.saw(0.0001, 0.005)
    assert pace.threads == 2


def test_processes_of_a_machine_share_its_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    """At least two threads each, at most eight."""
    monkeypatch.setattr("os.cpu_count", lambda: 32)
    found = []
    for ranks in ("1", "8", "16", "64"):
        monkeypatch.setenv("LOCAL_WORLD_SIZE", ranks)
        found.append(cores())
    assert found == [8, 4, 2, 2]
