"""Image folders: one directory per class, or no classes at all."""

import logging
from collections.abc import Collection, Iterator, Sequence
from functools import cache
from pathlib import Path, PurePosixPath

from nvg.store import Split
from pipeline.sources.base import Row, SourceError, digest, require_unicode
from pipeline.sources.names import (
    HEAD,
    NO_IMAGE,
    OUTSIDE,
    OUTSIDE_SPLITS,
    SUFFIXES,
    add_up,
    is_junk,
    left_out_lines,
    starts_an_image,
    why_no_image,
)
from pipeline.sources.place import Place
from pipeline.sources.rows import Rows
from pipeline.sources.splits import OWN, WORDS, are_splits, require_images

log = logging.getLogger("nvg")

NAMED = 5  # directories that a line names


class FolderSource:
    """An image folder; the class of an image is the first directory on its path.

    ImageNet's train layout is one. A folder without directories that hold images, as ImageNet's
    validation images come, has no classes: every label is -1. Where all directories are named after
    splits they are the splits, and the class is the second directory. A file that is no row is
    counted in `left_out`; a directory without an image is no class, and that is said.
    """

    def __init__(self, root: str | Path) -> None:
        self.root = Place(root)
        if not self.root.is_dir():
            raise SourceError(f"data.path {root} is not a directory of class directories")
        splits = _splits_below(self.root)
        places = {name: Place(f"{self.root}/{name}") if name else self.root for name in splits}
        files = {name: list(_looked_at(place)) for name, place in places.items()}
        self.classes = sorted(
            {
                key.partition("/")[0]
                for listed in files.values()
                for key, _, reason in listed
                if not reason and "/" in key
            }
        )
        ids = {name: label for label, name in enumerate(self.classes)}
        reasons: list[str] = []
        found: list[tuple[int, str, int, Split]] = []
        for name, split in splits.items():
            prefix = f"{name}/" if name else ""
            for key, size, reason in files[name]:
                top, slash, _ = key.partition("/")
                reason = reason or ("" if bool(slash) == bool(ids) else OUTSIDE)
                reasons.append(reason)
                if not reason:
                    found.append((ids[top] if slash else -1, prefix + key, size, split))
        if "" not in splits:
            beside = (key for key, _ in self.root.files(below=False))
            reasons += [why_no_image(key) or OUTSIDE_SPLITS for key in beside]
        self.left_out = add_up(reasons)
        found.sort()
        require_unicode((key for _, key, _, _ in found), self.root)
        if not found:
            raise SourceError(
                f"data.path {root} holds no images: expected <class>/<image> with one of "
                f"{', '.join(sorted(SUFFIXES))}"
                + "".join(f"; {line}" for line in left_out_lines(self.left_out))
            )
        rows = Rows.of(Row(key, label, split) for label, key, _, split in found)
        self.rows: Sequence[Row] = rows
        require_images(rows.splits(), splits.values(), self.root)
        self._say_empty(places.values())
        self._digest = digest(f"{key}\t{size}" for _, key, size, _ in found)

    def _say_empty(self, places: Collection[Place]) -> None:
        """A line that names directories which hold no image."""
        folders = {name for place in places for name in place.folders() if not is_junk(name)}
        if empty := sorted(folders - set(self.classes)):
            more = f" and {len(empty) - NAMED} more" if len(empty) > NAMED else ""
            names = ", ".join(empty[:NAMED]) + more
            say_empty(str(self.root), names)

    def read(self, keys: Sequence[str]) -> Iterator[bytes | OSError]:
        """One file each."""
        return self.root.read_many(keys)

    def fingerprint(self) -> str:
        """Over keys and file sizes, as they were when the folder was listed."""
        return self._digest


@cache
def say_empty(path: str, names: str) -> None:
    """A line that names directories which hold no image; once in a process."""
    log.warning("%s: no class, since they hold no image: %s", path, names)


def _splits_below(root: Place) -> dict[str, Split]:
    """The directories that are splits; for a folder without any, itself by the name ""."""
    names = [name for name in root.folders() if not is_junk(name)]
    words = [name if name in WORDS else None for name in names]
    if None in words or not are_splits(words, root):
        return {"": Split.TRAIN}
    return {name: OWN[name] for name in names if name in OWN}


def _looked_at(place: Place) -> Iterator[tuple[str, int, str]]:
    """Path, size and why it is no image ("": it is one) of every file below, in any order."""
    for key, size in place.files():
        reason = why_no_image(key)
        if not reason and not PurePosixPath(key).suffix:
            reason = "" if starts_an_image(place.head(key, HEAD)) else NO_IMAGE
        yield key, size, reason
