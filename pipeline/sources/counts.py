"""How many images each file of a source holds, and of which classes: found once, then kept."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import Any, Protocol, TypeVar

from nvg.config import as_table, build
from nvg.files import json_bytes, parse_json, storage, write_bytes
from pipeline.sources.labels import Classes
from pipeline.sources.splits import Part

AT_ONCE = 8  # files that are counted

Task = TypeVar("Task")
Result = TypeVar("Result")


class Spread(Protocol):
    """Something done to each of many tasks, several at once; results in the order of the tasks."""

    def __call__(
        self, work: Callable[[Task], Result], tasks: Sequence[Task]
    ) -> Iterator[Result]: ...


def in_threads(work: Callable[[Task], Result], tasks: Sequence[Task]) -> Iterator[Result]:
    """In threads of this process."""
    with ThreadPoolExecutor(AT_ONCE) as pool:
        yield from pool.map(work, tasks)


@dataclass(frozen=True, kw_only=True)
class Counts:
    """What is known of a source once its files are counted."""

    rows: tuple[int, ...]
    """Images of each part: of a file, or of a run of members of a shard."""
    classes: tuple[str, ...]
    by_number: bool
    """Whether labels are numbers of classes, see `Classes`."""
    left_out: dict[str, Any] = field(default_factory=dict)
    columns: tuple[str, ...] = ()
    """Of the images and of the labels ("": none) of each file, one after another; of tables."""
    places: tuple[int, ...] = ()
    """Number of the file and first byte of each part, one after another; of shards."""
    fingerprint: str
    files: tuple[str, ...] = ()
    """Name, size and time of each file as it was when it was counted."""

    def classified(self) -> Classes:
        """The classes as what turns labels into their numbers."""
        return Classes(list(self.classes), self.by_number)


class Counting:
    """How the files of a source are counted, and the file (path or URL) that keeps what is found.

    Files that are as they were then are not counted again.
    """

    def __init__(self, spread: Spread = in_threads, kept: str = "") -> None:
        self.spread, self.kept = spread, kept
        self.found: Counts | None = None
        """What is to be kept."""

    def of(self, parts: Sequence[Part], kind: str, count: Callable[[Spread], Counts]) -> Counts:
        """What was kept of the same files read in the same way (`kind`), or else is counted now."""
        if not self.kept:
            return count(self.spread)
        files = (kind, *(f"{part.name}\t{part.split}\t{part.place.stamp()}" for part in parts))
        known = self._read()
        if known and known.files == files:
            return known
        self.found = replace(count(self.spread), files=files)
        return self.found

    def keep(self) -> None:
        """Write what was counted, if anything was."""
        if self.found:
            fs, path = storage(self.kept)
            write_bytes(fs, path, json_bytes(as_table(self.found)))
            self.found = None

    def _read(self) -> Counts | None:
        """What the file has; None where there is none, or it makes no sense: it is only kept."""
        fs, path = storage(self.kept)
        try:
            return build(Counts, parse_json(fs.cat_file(path)))
        except (OSError, ValueError):
            return None
