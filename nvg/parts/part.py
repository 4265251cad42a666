"""A part of a linked store, and whether it may be opened where the store says that it lies.

A linked store may come from anywhere and could name any file or URL. Parts beside it or below are
its own; any other place must be one that the user names in NVG_PARTS.
"""

import os
import posixpath
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

ALLOWED = "NVG_PARTS"  # folders and URLs, separated by commas
ODD = re.compile(r"::|%2e|\\", re.IGNORECASE)  # of a URL that may not lead where it seems to
SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, kw_only=True)
class Part:
    """One store whose rows a linked store shows."""

    path: str
    """From the folder that holds the linked store; or absolute, or a URL."""
    sha256: str
    """Of its `manifest.json`."""
    commits: str
    """SHA-256 of its commit records, one after another."""
    rows: tuple[int, ...]
    """First row of the linked store that is one of its rows, and the one after the last."""

    def __post_init__(self) -> None:
        for name in ("sha256", "commits"):
            if not SHA256.fullmatch(getattr(self, name)):
                raise ValueError(f"{name} must be 64 hexadecimal digits")
        if len(self.rows) != 2 or not 0 <= self.rows[0] <= self.rows[1]:
            raise ValueError(f"rows must be [first, end], not {list(self.rows)}")
        if not self.path or not self.path.isprintable():
            raise ValueError(f"path {self.path[:80]!a} is that of no store")


def allowed_places() -> tuple[str, ...]:
    """What NVG_PARTS names."""
    return tuple(each.strip() for each in os.environ.get(ALLOWED, "").split(",") if each.strip())


def home_of(linked: str) -> str:
    """The folder or prefix that holds a linked store, in which it may name parts."""
    linked = linked.removeprefix("file://")
    if _is_url(linked):
        return linked.rstrip("/").rpartition("/")[0]
    return os.path.dirname(os.path.realpath(linked))


def place_of(path: str, linked: str, allowed: Iterable[str] = ()) -> str:
    """Where a part lies that the store at `linked` names; ValueError unless it may be opened.

    A link that leads out of the folder counts as what it leads to.
    """
    home = home_of(linked)
    place = path if _is_url(path) or os.path.isabs(path) else _joined(home, path)
    if not any(_is_below(place, each) for each in (home, *allowed)):
        raise ValueError(
            f"names a part {path!a} that is not below {home}: if you trust it, name its folder in "
            f"the environment variable {ALLOWED}"
        )
    return place if _is_url(place) else os.path.realpath(place)


def path_from(place: str, linked: str) -> str:
    """How the store at `linked` names a part: from its own folder where the part is below it."""
    home = home_of(linked)
    if _is_url(place):
        inside = place.startswith(f"{home}/")
        return place[len(home) + 1 :].rstrip("/") if inside else place.rstrip("/")
    real = Path(os.path.realpath(place))
    return real.relative_to(home).as_posix() if real.is_relative_to(home) else str(real)


def _joined(home: str, path: str) -> str:
    return f"{home}/{path}" if _is_url(home) else os.path.join(home, path)


def _is_below(place: str, folder: str) -> bool:
    if _is_url(place) != _is_url(folder):
        return False
    if _is_url(place):
        rest = place.partition("://")[2]
        is_plain = not ODD.search(place) and posixpath.normpath(rest) == rest.rstrip("/")
        return is_plain and f"{place.rstrip('/')}/".startswith(f"{folder.rstrip('/')}/")
    return Path(os.path.realpath(place)).is_relative_to(os.path.realpath(folder))


def _is_url(path: str) -> bool:
    return "://" in path or "::" in path
