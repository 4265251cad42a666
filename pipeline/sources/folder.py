"""Image folders: one directory per class, or no classes at all."""

from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath

from nvg.store import Split
from pipeline.sources.base import SUFFIXES, Row, SourceError, digest, require_unicode
from pipeline.sources.place import Place
from pipeline.sources.splits import OWN, WORDS, are_splits, require_images


class FolderSource:
    """An image folder; the class of an image is the first directory on its path.

    ImageNet's train layout is one. A folder without directories, as ImageNet's validation images
    come, has no classes: every label is -1. Where all directories are named after splits, and hold
    class directories, they are the splits: the class is the second directory then.
    """

    def __init__(self, root: str | Path) -> None:
        self.root = Place(root)
        if not self.root.is_dir():
            raise SourceError(f"data.path {root} is not a directory of class directories")
        splits = _splits_below(self.root)
        places = {name: Place(f"{self.root}/{name}") if name else self.root for name in splits}
        self.classes = sorted({top for place in places.values() for top in place.folders()})
        found: list[tuple[Row, int]] = []
        for name, split in splits.items():
            found += _listed(places[name], f"{name}/" if name else "", split, self.classes)
        found.sort(key=lambda entry: (entry[0].label, entry[0].key))
        self.rows = [row for row, _ in found]
        require_unicode(self.rows, self.root)
        if not self.rows:
            raise SourceError(
                f"data.path {root} holds no images: expected <class>/<image> with one of "
                f"{', '.join(sorted(SUFFIXES))}"
            )
        require_images(self.rows, splits.values(), self.root)
        self._digest = digest(f"{row.key}\t{size}" for row, size in found)

    def read(self, keys: Sequence[str]) -> Iterator[bytes | OSError]:
        """One file each."""
        return self.root.read_many(keys)

    def fingerprint(self) -> str:
        """Over keys and file sizes, as they were when the folder was listed."""
        return self._digest


def _splits_below(root: Place) -> dict[str, Split]:
    """The directories that are splits; for a folder without any, itself by the name ""."""
    names = root.folders()
    words = [name if name in WORDS else None for name in names]
    if None in words or not any(Place(f"{root}/{name}").folders() for name in names):
        return {"": Split.TRAIN}
    if not are_splits(words, root):
        return {"": Split.TRAIN}
    return {name: OWN[name] for name in names if name in OWN}


def _listed(
    place: Place, prefix: str, split: Split, classes: list[str]
) -> Iterator[tuple[Row, int]]:
    """The images below a folder, in any order, and their sizes."""
    ids = {name: label for label, name in enumerate(classes)}
    for key, size in place.files():
        top, slash, _ = key.partition("/")
        if bool(slash) == bool(ids) and PurePosixPath(key).suffix.lower() in SUFFIXES:
            yield Row(prefix + key, ids[top] if slash else -1, split), size
