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
Name = Callable[[int], str]
"""The path of the file with a number."""


class Listing:
    """The files below a root, a path on an fsspec filesystem."""

    def __init__(self, fs: Any, root: str) -> None:
        self.fs, self.root = fs, root

    def numbers(
        self, folder: str, pattern: re.Pattern[str], name: Name, count: int, is_whole: bool
    ) -> list[int]:
        """The numbers of a folder's files, ascending.

        Where it should be whole, with files 0..count-1, those that no listing shows are asked for;
        else those that one shows are, before they count.
        """
        found = self.shown(folder, pattern)
        if is_local(self.fs):
            return found
        if is_whole:
            left = sorted({*range(count)}.difference(found))
            return sorted({*found, *left}.difference(self.absent(left, name, most=count)))
        gone = self.absent(found, name, most=len(found))
        return sorted({*found}.difference(gone))

    def shown(self, folder: str, pattern: re.Pattern[str]) -> list[int]:
        """The numbers of the files or folders that a listing of a folder shows, ascending."""
        try:
            names = self.fs.ls(f"{self.root}/{folder}", detail=False, refresh=True)
        except (FileNotFoundError, NotADirectoryError):
            return []
        found = (pattern.fullmatch(name.rstrip("/").rsplit("/", 1)[1]) for name in names)
        return sorted(int(each[1]) for each in found if each)

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
