"""Which column holds the labels, and their texts and numbers as class ids."""

import json
import logging
import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from functools import cache, cached_property

from pipeline.sources.base import SourceError

MOST_CLASSES = 1_000_000  # an id beyond is a mistake, and would make as many names
COLUMNS = ("label", "labels", "fine_label", "class", "target", "label_name")
WHOLE = re.compile(r"(\d+)(?:\.0*)?")  # pandas writes ids as 10.0 where a label is missing
NONE = re.compile(r"-1(?:\.0*)?")

log = logging.getLogger("nvg")


def label_column(columns: Collection[str], wanted: str, path: object) -> str | None:
    """The column of labels: `wanted`, or the first of COLUMNS that is there; None without one.

    A guess is said. SourceError where the wanted one is missing.
    """
    if wanted:
        if wanted not in columns:
            raise SourceError(
                f"data.label is {wanted!r}, which {path} does not have: it has {', '.join(columns)}"
            )
        return wanted
    found = next((name for name in COLUMNS if name in columns), None)
    if found and found != COLUMNS[0]:
        say_guess(found, str(path))
    return found


@cache
def say_guess(column: str, path: str) -> None:
    """A line that names the column of labels; once in a process."""
    log.info("%s: labels are those of column %s (data.label names another)", path, column)


@dataclass(frozen=True)
class Classes:
    """Names of classes, and which of them a label is."""

    names: list[str]
    by_number: bool
    """Whether a label is the number of its class; else it is the name."""

    def ids(self, labels: Iterable[int | str | None]) -> list[int]:
        """The class id of each label; -1 for None."""
        return [self._id(label) for label in labels]

    def _id(self, label: int | str | None) -> int:
        if label is None or (self.by_number and isinstance(label, int)):
            return -1 if label is None else int(label)
        if not self.by_number:
            return self._numbers.get(str(label), -1)
        match = WHOLE.fullmatch(str(label))
        return int(match[1]) if match else -1

    @cached_property
    def _numbers(self) -> dict[str, int]:
        return {name: number for number, name in enumerate(self.names)}


def classes_of(given: Collection[str], path: object) -> Classes:
    """The classes that different label texts stand for.

    All numbers: ids as they are (10.0 is 10, and -1 none), named by their number. Otherwise names
    in alphabetical order.
    """
    whole = [WHOLE.fullmatch(label) for label in given if not NONE.fullmatch(label)]
    if all(whole):
        return Classes(number_names((int(match[1]) for match in whole if match), path), True)
    return Classes(sorted(given), False)


def number_names(ids: Iterable[int], path: object) -> list[str]:
    """The names of classes without names, "0" to the largest id. SourceError for an odd id."""
    known = [-1, *ids]
    lowest, highest = min(known), max(known)
    if lowest < -1 or highest >= MOST_CLASSES:
        wrong = lowest if lowest < -1 else highest
        raise SourceError(
            f"{path} has label {wrong}: ids must be 0..{MOST_CLASSES - 1}, or -1 for none; give "
            "names instead"
        )
    return [str(n) for n in range(highest + 1)]


def label_text(extension: str, content: bytes) -> str | None:
    """The label in a member of a shard, `.cls` or `.json`, as text; None where a JSON has none."""
    text = content.decode(errors="replace").strip()
    if extension == ".cls":
        return text
    try:
        table = json.loads(text)
    except (ValueError, RecursionError):
        return None
    label = table.get("label") if isinstance(table, dict) else None
    return None if label is None else str(label)
