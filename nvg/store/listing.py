"""Which numbered files a folder of a store has, on storage whose listings may lag behind.

Object storage may list an object some time after it was written, and go on listing one that was
removed. What it says of one object by its name is true at once: so a listing is a first guess, and
the objects themselves are asked for where something depends on it.
"""

import re
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

from nvg.files import is_local, is_there

ASKED = 16  # files that are asked for at once
NUMBER = re.compile(r"0*([0-9]{1,15})(\..*)?")
Name = Callable[[int], str]
"""The path of the file with a number, below the root."""


class Listing:
    """The files below a root, a path on an fsspec filesystem."""

    def __init__(self, fs: Any, root: str) -> None:
        self.fs, self.root = fs, root

    def numbers(self, folder: str, name: Name, count: int, is_whole: bool) -> list[int]:
        """The numbers of a folder's files, ascending.

        Where it should be whole, with files 0..count-1, those that no listing shows are asked for;
        else those that one shows are, before they count.
        """
        found = self.shown(folder, name)
        if is_local(self.fs):
            return found
        if is_whole:
            left = sorted({*range(count)}.difference(found))
            return sorted({*found, *left}.difference(self.absent(left, name, most=count)))
        gone = self.absent(found, name, most=len(found))
        return sorted({*found}.difference(gone))

    def shown(self, folder: str, name: Name) -> list[int]:
        """The numbers by which files or folders of a folder are named, as a listing shows them,
        ascending; others mean nothing."""
        try:
            listed = self.fs.ls(f"{self.root}/{folder}", detail=False, refresh=True)
        except (FileNotFoundError, NotADirectoryError):
            return []
        last = (each.rstrip("/").rsplit("/", 1)[1] for each in listed)
        numbers = {each: int(found[1]) for each in last if (found := NUMBER.fullmatch(each))}
        return sorted(n for each, n in numbers.items() if f"{folder}/{each}" == name(n))

    def absent(self, numbers: Sequence[int], name: Name, most: int = 1) -> list[int]:
        """Those of the numbers whose file is not there; the search ends with `most` of them."""
        absent: list[int] = []
        with ThreadPoolExecutor(ASKED) as pool:
            for start in range(0, len(numbers), ASKED):
                part = numbers[start : start + ASKED]
                paths = [f"{self.root}/{name(number)}" for number in part]
                there = pool.map(partial(is_there, self.fs), paths)
                absent += [number for number, found in zip(part, there, strict=True) if not found]
                if len(absent) >= most:
                    break
        return absent
