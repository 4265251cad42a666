"""Tasks shared out: in order, each done once, the state opened once, whoever does them."""

import os
import signal
from pathlib import Path

import pytest

from nvg.distributed import World, default_device
from nvg.errors import InputError
from pipeline.cluster import OnRay, own_signal
from pipeline.team import Processes, Team, open_team

OPENED: list[int] = []


def opener() -> int:
    """A state, and a note that it was opened."""
    OPENED.append(1)
    return 10


def refused() -> int:
    """A state that cannot be opened."""
    raise InputError("no such run")


def add(state: int, task: int) -> int:
    """What a task makes; an error of the input where it is negative."""
    if task < 0:
        raise InputError(f"task {task} is negative")
    return state + task


def test_one_process_opens_once() -> None:
    """When it is told to, or with its first task: what is refused before costs no networks."""
    OPENED.clear()
    with open_team(opener) as team:
        assert team.is_main
        assert team.agree(7) == 7
        assert not OPENED
        team.prepare()
        assert len(OPENED) == 1
        assert list(team.map(add, [3, 1, 2])) == [13, 11, 12]
        assert list(team.map(add, [])) == []
        assert list(team.map(add, [4])) == [14]
    assert len(OPENED) == 1


def test_an_address_needs_a_number_of_workers() -> None:
    """One line for every verb."""
    with pytest.raises(InputError, match="say how many"), open_team(opener, None, "auto"):
        pass


def test_ranks_take_every_other_task(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two ranks of one round each: what they do together is all, and only once."""
    done: dict[int, list[int]] = {}
    for rank in range(2):
        mine = done.setdefault(rank, [])
        world = World(rank, 2, default_device())
        monkeypatch.setattr(World, "collect", lambda _, made, mine=mine: mine.extend(made) or [])
        team: Team[int] = Processes(world, opener)
        assert list(team.map(add, [0, 1, 2, 3, 4])) == []
    assert done == {0: [10, 12, 14], 1: [11, 13]}


@pytest.mark.slow
@pytest.mark.ray
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_actors_of_ray() -> None:
    """In order through more tasks than wait at once; an input error in its own words; too many."""
    with open_team(opener, 2) as team:
        team.prepare()
        assert list(team.map(add, list(range(11)))) == list(range(10, 21))
        with pytest.raises(InputError, match=r"^task -1 is negative$"):
            list(team.map(add, [1, -1]))
        assert list(team.map(add, [5])) == [15]
    with open_team(refused, 1) as team, pytest.raises(InputError, match=r"^no such run$"):
        team.prepare()
    with pytest.raises(InputError, match="the Ray cluster has"), open_team(opener, 500):
        pass


@pytest.mark.slow
@pytest.mark.ray
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_tasks_are_spread_over_a_cluster() -> None:
    """In order, in other processes from 64 tasks on; an input error in its own words."""
    assert {process for _, process in OnRay(None)(halved, [2] * 63)} == {os.getpid()}
    found = list(OnRay(None)(halved, range(0, 200, 2)))
    assert [half for half, _ in found] == list(range(100))
    assert os.getpid() not in {process for _, process in found}
    with pytest.raises(InputError, match=r"^3 is odd$"):
        list(OnRay(None)(halved, [*range(0, 200, 2), 3]))


def halved(number: int) -> tuple[int, int]:
    """Half of an even number, and the process that found it."""
    if number % 2:
        raise InputError(f"{number} is odd")
    return number // 2, os.getpid()


@pytest.mark.ray
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_lost_actor_costs_a_task(tmp_path: Path) -> None:
    """The one that dies in a task is started again, and the task done."""
    with open_team(opener, 2) as team:
        marks = [tmp_path / str(number) for number in range(6)]
        assert list(team.map(die_once, marks)) == [mark.name for mark in marks]
    assert (tmp_path / "3").exists()


def die_once(_state: int, mark: Path) -> str:
    """Task 3 kills its process the first time."""
    import os
    import signal

    if mark.name == "3" and not mark.exists():
        mark.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return mark.name


def test_a_handler_that_is_not_pythons_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    """One that a library has set in C is None to Python, which cannot put it back."""
    before = signal.signal(signal.SIGUSR1, signal.SIG_IGN)
    try:
        monkeypatch.setattr(signal, "getsignal", lambda number: None)
        with own_signal(signal.SIGUSR1):
            pass
        monkeypatch.undo()
        assert signal.getsignal(signal.SIGUSR1) is signal.SIG_IGN
        with own_signal(signal.SIGUSR1):
            signal.signal(signal.SIGUSR1, signal.SIG_DFL)
        assert signal.getsignal(signal.SIGUSR1) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGUSR1, before)
