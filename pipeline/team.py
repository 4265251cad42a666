"""Tasks shared out over processes: this one, those of torchrun, or actors of a Ray cluster.

One process does a task wholly, whichever it is, and results come in the order of the tasks: what
comes of them does not depend on the number of processes.
"""

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Generic, Protocol, TypeVar

from nvg.distributed import World, joined
from nvg.errors import InputError
from pipeline.recipe import Recipe

State = TypeVar("State")
State_co = TypeVar("State_co", covariant=True)
Task = TypeVar("Task")
Result = TypeVar("Result")


class Team(Protocol[State_co]):
    """Processes that hold the same state, such as networks, and do tasks with it."""

    @property
    def is_main(self) -> bool:
        """Whether results come to this process; only it writes what they make."""

    def prepare(self) -> None:
        """Open the state now, before bars and files; else the first task does."""

    def map(
        self, work: Callable[[State_co, Task], Result], tasks: Sequence[Task]
    ) -> Iterator[Result]:
        """`work(state, task)` of every task, in order, with a bound on those that wait.

        Every process must iterate to the end; in those that are not main no result comes.
        """

    def agree(self, value: Task) -> Task:
        """The main process's value, in all."""

    def agreed(self) -> AbstractContextManager[None]:
        """An error of the input of any process inside ends all, see `World.agreed`."""


@dataclass(frozen=True)
class Processes(Generic[State]):
    """This process, alone or with those that torchrun started beside it."""

    world: World
    opener: Callable[[], State]

    @cached_property
    def state(self) -> State:
        """Opened with the first task: what can be refused before need not wait for it."""
        return self.opener()

    @property
    def is_main(self) -> bool:
        """Whether this is the first."""
        return self.world.is_main

    def prepare(self) -> None:
        """Open the state of this process; an error of one ends all."""
        with self.world.agreed():
            _ = self.state

    def map(self, work: Callable[[State, Task], Result], tasks: Sequence[Task]) -> Iterator[Result]:
        """In rounds: every process does one task, then the main one gets them all."""
        for start in range(0, len(tasks), self.world.size):
            mine = tasks[start + self.world.rank :][:1]
            for results in self.world.collect([work(self.state, task) for task in mine]):
                yield from results

    def agree(self, value: Task) -> Task:
        """The main process's value, in all."""
        return self.world.agree(value)

    def agreed(self) -> AbstractContextManager[None]:
        """Of this process and those beside it."""
        return self.world.agreed()


@contextmanager
def open_team(
    opener: Callable[[], State], workers: int | None = None, address: str | None = None
) -> Iterator[Team[State]]:
    """`workers` actors of a Ray cluster where that is given, else this process or torchrun's.

    Each calls `opener` once; for Ray it must be picklable, and find its files on every node.
    """
    if address and workers is None:
        raise InputError("--address names a Ray cluster for --workers: say how many")
    if workers is None:
        with joined() as world:
            yield Processes(world, opener)
        return
    from pipeline.cluster import actors

    with actors(opener, workers, address) as team:
        yield team


def reachable(recipe: Recipe) -> Recipe:
    """With paths of images and label maps that hold in any folder: workers run elsewhere."""
    data = recipe.data
    path, segments = (
        os.path.abspath(place) if place and "://" not in place else place
        for place in (data.path, data.segments)
    )
    return replace(recipe, data=replace(data, path=path, segments=segments))
