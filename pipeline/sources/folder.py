"""Image folders: one directory per class, or no classes at all."""

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from pipeline.sources.base import (
    SUFFIXES,
    Row,
    SourceError,
    digest,
    read_files,
    require_unicode,
    size_of,
)


class FolderSource:
    """An image folder; the class of an image is the first directory on its path.

    ImageNet's train layout is one. A folder without directories, as ImageNet's validation images
    come, has no classes: every label is -1.
    """

    def __init__(self, root: Path) -> None:
        if not root.is_dir():
            raise SourceError(f"data.path {root} is not a directory of class directories")
        self.root = root
        self.classes = sorted(entry.name for entry in os.scandir(root) if entry.is_dir())
        self.rows = [
            Row(f"{name}/{key}", label)
            for label, name in enumerate(self.classes)
            for key in sorted(_images_below(root / name))
        ]
        if not self.classes:
            self.rows = [Row(key, -1) for key in sorted(_images_below(root))]
        require_unicode(self.rows, root)
        if not self.rows:
            raise SourceError(
                f"data.path {root} holds no images: expected <class>/<image> with one of "
                f"{', '.join(sorted(SUFFIXES))}"
            )

    def read(self, keys: Sequence[str]) -> Iterator[bytes | OSError]:
        """One file each."""
        return read_files(self.root, keys)

    def fingerprint(self) -> str:
        """Over keys and file sizes."""
        return digest(f"{row.key}\t{size_of(self.root / row.key)}" for row in self.rows)


def _images_below(directory: Path) -> Iterator[str]:
    for parent, directories, files in os.walk(directory):
        directories.sort()
        for file in files:
            if os.path.splitext(file)[1].lower() in SUFFIXES:
                yield Path(parent, file).relative_to(directory).as_posix()
