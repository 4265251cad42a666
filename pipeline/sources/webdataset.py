"""WebDataset tar shards: an image and its label are members with one name up to the first dot."""

import json
import tarfile
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath

from pipeline.sources.base import (
    SUFFIXES,
    Row,
    SourceError,
    digest,
    label_ids,
    require_unicode,
    size_of,
)


class TarSource:
    """Uncompressed tar shards, file or folder, in the order of names and members.

    The label of `NAME.jpg` is `NAME.cls`, a number or a class name, or `label` in `NAME.json`; an
    image without either has label -1. A key is `SHARD:OFFSET:MEMBER`, so that any worker finds an
    image by one seek.
    """

    def __init__(self, path: Path) -> None:
        self.files = sorted(path.glob("*.tar")) if path.is_dir() else [path]
        if not self.files:
            raise SourceError(f"data.path {path} holds no *.tar shards")
        found: list[tuple[str, str | None]] = []
        for file in self.files:
            try:
                found += _list_shard(file)
            except (OSError, tarfile.TarError) as error:
                raise SourceError(f"{file} is not an uncompressed tar shard: {error}") from error
        if not found:
            raise SourceError(
                f"data.path {path} holds no images: expected members with one of "
                f"{', '.join(sorted(SUFFIXES))}"
            )
        self.classes, labels = label_ids([label for _, label in found], path)
        self.rows = [Row(key, label) for (key, _), label in zip(found, labels, strict=True)]
        require_unicode(self.rows, path)

    def read(self, keys: Sequence[str]) -> Iterator[bytes | OSError]:
        """One member each, at its offset."""
        by_name = {file.name: file for file in self.files}
        for key in keys:
            shard, offset, member = key.split(":", 2)
            try:
                yield _read_member(by_name[shard], int(offset), member)
            except (OSError, tarfile.TarError) as error:
                yield error if isinstance(error, OSError) else OSError(str(error))

    def fingerprint(self) -> str:
        """Over shard names and sizes, and the keys."""
        sizes = [f"{file.name}\t{size_of(file)}" for file in self.files]
        return digest([*sizes, *(row.key for row in self.rows)])


def _list_shard(file: Path) -> list[tuple[str, str | None]]:
    """Key and label text of every image of a shard, in order."""
    images: list[tuple[str, str]] = []
    labels: dict[str, str] = {}
    with tarfile.open(file, "r:") as shard:
        for member in shard:
            if not member.isfile():
                continue
            stem, _, extension = PurePosixPath(member.name).name.partition(".")
            sample = str(PurePosixPath(member.name).with_name(stem))
            if f".{extension.rpartition('.')[2].lower()}" in SUFFIXES:
                images.append((f"{file.name}:{member.offset}:{member.name}", sample))
            elif extension in ("cls", "json"):
                content = shard.extractfile(member)
                label = _label(extension, content.read() if content else b"")
                if label is not None:
                    labels[sample] = label
    return [(key, labels.get(sample)) for key, sample in images]


def _label(extension: str, content: bytes) -> str | None:
    """The label as text; None where a JSON has none."""
    text = content.decode(errors="replace").strip()
    if extension == "cls":
        return text
    try:
        table = json.loads(text)
    except ValueError:
        return None
    label = table.get("label") if isinstance(table, dict) else None
    return None if label is None else str(label)


def _read_member(file: Path, offset: int, name: str) -> bytes:
    """The bytes of the member whose header lies at an offset."""
    with file.open("rb") as stream:
        stream.seek(offset)
        shard = tarfile.TarFile(fileobj=stream)
        member = shard.next()
        content = shard.extractfile(member) if member and member.name == name else None
        if content is None:
            raise OSError(f"{file.name} has changed: {name} is no longer at {offset}")
        return content.read()
