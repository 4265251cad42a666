"""Numbered files on storage whose listings lag behind."""

from typing import Any

import pytest
from fsspec.implementations.memory import MemoryFileSystem

from nvg.store.listing import ASKED, Listing

OTHERS = ("notes.txt", "1.json", "001.json", "01.json.bak", "\u0660\u0661.json")


class Late(MemoryFileSystem):
    """Storage that lists what it is told to, and counts the files that it is asked for."""

    protocol = "late"

    def __init__(self, there: set[int], listed: set[int], **options: Any) -> None:
        super().__init__(**options)
        self.there, self.listed, self.asked = there, listed, 0

    def ls(self, path: str, detail: bool = True, **options: Any) -> Any:
        if path == "/store/none":
            raise FileNotFoundError(path)
        return [f"{path}/{number:02}.json" for number in self.listed] + [
            f"{path}/{other}" for other in OTHERS
        ]

    def exists(self, path: str, **options: Any) -> bool:
        self.asked += 1
        return int(path[-7:-5]) in self.there


def name(number: int) -> str:
    return f"a/{number:02}.json"


@pytest.mark.parametrize(
    ("there", "listed", "is_whole", "asked"),
    [
        ({0, 1, 2}, {0, 1, 2}, True, 0),
        ({0, 1, 2}, {0}, True, 2),  # two that are not listed yet
        ({0, 2}, {0}, True, 2),
        ({0, 1}, {0, 1}, False, 2),
        ({1}, {0, 1}, False, 2),  # one that is listed still
        ({0, 1}, {1}, False, 1),  # one that is not listed yet waits for another listing
    ],
)
def test_what_is_asked_for_beside_a_listing(
    there: set[int], listed: set[int], is_whole: bool, asked: int
) -> None:
    """Of a whole folder what it lacks, of another what it shows."""
    fs = Late(there, listed, skip_instance_cache=True)
    found = Listing(fs, "/store").numbers("a", name, 3, is_whole)
    assert found == sorted(there if is_whole else there & listed)
    assert fs.asked == asked
    assert Listing(fs, "/store").shown("none", name) == []


def test_the_search_for_an_absent_one_ends_early() -> None:
    """A round after the first that is found; all of them where all are wanted."""
    fs = Late({*range(40)} - {3, 39}, set(), skip_instance_cache=True)
    assert Listing(fs, "/store").absent(range(40), name) == [3]
    assert fs.asked == ASKED
    assert Listing(fs, "/store").absent(range(40), name, most=40) == [3, 39]
