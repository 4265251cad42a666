"""The splits that a source brings along, told by the names of its folders, files or entries."""

import logging
import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from nvg.store import Split
from pipeline.sources.base import SourceError
from pipeline.sources.place import Place

log = logging.getLogger("nvg")

OWN = {
    "train": Split.TRAIN,
    "val": Split.VAL,
    "validation": Split.VAL,
    "valid": Split.VAL,
}
TEST = "test"  # left out: it is neither trained on nor measured while training
WORDS = (*OWN, TEST)
FILE_NAME = re.compile(rf"(?:.*[-_.])?({'|'.join(WORDS)})(?:[-_.]\d.*)?")


@dataclass(frozen=True, slots=True)
class Part:
    """One file of a source: its name in the keys of its images, where it is, and its split."""

    name: str
    place: Place
    split: Split = Split.TRAIN


def parts_of(path: str | Path, suffix: str) -> list[Part]:
    """The files of a source in the order of their names, without those of a test split.

    They lie in the folder `path`, or in a folder for each split below it; or `path` is a pattern of
    their names, or the only one. Empty where there are none; SourceError when there is a val split
    and no train split.
    """
    place = Place(path)
    matches = place.matches()
    if len(matches) == 1 and not place.is_dir():
        return [Part(matches[0].name, matches[0])]
    if len({file.name for file in matches}) < len(matches):
        raise SourceError(
            f"data.path {path} fits files of one name in several folders: rename them"
        )
    if files := place.holding(suffix) if place.is_dir() else matches:
        found = [(file.name, file, _word(file.name.removesuffix(suffix))) for file in files]
        if not are_splits((word for _, _, word in found), place):
            return [Part(name, file) for name, file, _ in found]
    else:
        found = [
            (f"{folder}/{file.name}", file, folder if folder in WORDS else None)
            for folder in place.folders()
            for file in Place(f"{place}/{folder}").holding(suffix)
        ]
        if not are_splits((word for _, _, word in found), place):
            return []
    return [Part(name, file, OWN[word]) for name, file, word in found if word in OWN]


def are_splits(words: Iterable[str | None], path: object) -> bool:
    """Whether names tell splits apart: each has a word for one (None: no word), not all TEST.

    Says that a test split is left out. SourceError when there is a val split and no train split.
    """
    found = set(words)
    if None in found or found <= {TEST}:
        return False
    if "train" not in found:
        raise SourceError(
            f"data.path {path} has a val split and no train split: add the train split, or give "
            "the val split under another name"
        )
    if TEST in found:
        say_left_out(str(path))
    return True


@cache
def say_left_out(path: str) -> None:
    """A line that the test split of a source is not used; once in a process."""
    log.info("%s: its test split is left out", path)


def require_images(found: Collection[Split], splits: Iterable[Split], path: object) -> None:
    """SourceError for one of `splits` that has no image; `found` are those that have some."""
    for split in sorted(set(splits) - {*found}):
        raise SourceError(
            f"data.path {path} has a {split} split without images: add images as in the other "
            "split, or remove it"
        )


def _word(stem: str) -> str | None:
    """The split that a file is named after: `train-00000-of-00041`, `cifar10-test`, `val_0001`."""
    found = FILE_NAME.fullmatch(stem)
    return found[1] if found else None
