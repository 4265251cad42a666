"""Reading keys in any order from parts that are read one at a time: files, groups of rows."""

from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from typing import TypeVar

Part = TypeVar("Part", bound=Hashable)
Result = TypeVar("Result")


def read_grouped(
    keys: Sequence[str],
    part_of: Callable[[str], Part],
    read_part: Callable[[Part, list[str]], Iterable[Result]],
) -> Iterator[Result]:
    """The result of each key, in the order of `keys`; each part is read once.

    `read_part` gives the results of its keys in their order. Parts come in the order of their first
    keys, and a result is passed on as soon as those before it are: keys that are in order of their
    parts wait for nothing.
    """
    members: dict[Part, list[int]] = {}
    for number, key in enumerate(keys):
        members.setdefault(part_of(key), []).append(number)
    waiting: dict[int, Result] = {}
    following = 0
    for part, numbers in members.items():
        found = read_part(part, [keys[number] for number in numbers])
        for number, result in zip(numbers, found, strict=True):
            waiting[number] = result
            while following in waiting:
                yield waiting.pop(following)
                following += 1
