"""Image folders: one directory per class, or no classes at all."""

from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath

from pipeline.sources.base import SUFFIXES, Row, SourceError, digest, require_unicode
from pipeline.sources.place import Place


class FolderSource:
    """An image folder; the class of an image is the first directory on its path.

    ImageNet's train layout is one. A folder without directories, as ImageNet's validation images
    come, has no classes: every label is -1.
    """

    def __init__(self, root: str | Path) -> None:
        self.root = Place(root)
        if not self.root.is_dir():
            raise SourceError(f"data.path {root} is not a directory of class directories")
        self.classes = self.root.folders()
        ids = {name: label for label, name in enumerate(self.classes)}
        found: list[tuple[Row, int]] = []
        for key, size in self.root.files():
            top, slash, _ = key.partition("/")
            if bool(slash) == bool(ids) and PurePosixPath(key).suffix.lower() in SUFFIXES:
                found.append((Row(key, ids[top] if slash else -1), size))
        found.sort(key=lambda entry: (entry[0].label, entry[0].key))
        self.rows = [row for row, _ in found]
        require_unicode(self.rows, self.root)
        if not self.rows:
            raise SourceError(
                f"data.path {root} holds no images: expected <class>/<image> with one of "
                f"{', '.join(sorted(SUFFIXES))}"
            )
        self._digest = digest(f"{row.key}\t{size}" for row, size in found)

    def read(self, keys: Sequence[str]) -> Iterator[bytes | OSError]:
        """One file each."""
        return self.root.read_many(keys)

    def fingerprint(self) -> str:
        """Over keys and file sizes, as they were when the folder was listed."""
        return self._digest
