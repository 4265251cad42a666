"""WebDataset tar shards: an image and its label are members with one name up to the first dot."""

import json
import tarfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from pipeline.sources.base import SUFFIXES, Row, SourceError, digest, label_ids, require_unicode
from pipeline.sources.grouped import read_grouped
from pipeline.sources.splits import Part, parts_of, require_images

LISTED_AT_ONCE = 8  # shards


class TarSource:
    """Uncompressed tar shards, file or folder, in the order of names and members.

    The label of `NAME.jpg` is `NAME.cls`, a number or a class name, or `label` in `NAME.json`; an
    image without either has label -1. A key is `SHARD:OFFSET:MEMBER`, so that any worker finds an
    image by one seek. Names of shards or folders may tell splits apart (`parts_of`).
    """

    def __init__(self, path: str | Path) -> None:
        parts = parts_of(path, ".tar")
        self.files = {part.name: part.place for part in parts}
        if not parts:
            raise SourceError(f"data.path {path} holds no *.tar shards")
        with ThreadPoolExecutor(LISTED_AT_ONCE) as pool:
            listed = list(zip(parts, pool.map(_list_shard, parts), strict=True))
        found = [(*entry, part.split) for part, entries in listed for entry in entries]
        if not found:
            raise SourceError(
                f"data.path {path} holds no images: expected members with one of "
                f"{', '.join(sorted(SUFFIXES))}"
            )
        self.classes, labels = label_ids([label for _, label, _ in found], path)
        self.rows = [
            Row(key, label, split) for (key, _, split), label in zip(found, labels, strict=True)
        ]
        require_unicode(self.rows, path)
        require_images(self.rows, (part.split for part in parts), path)

    def read(self, keys: Sequence[str]) -> Iterator[bytes | OSError]:
        """One member each, at its offset; each shard is opened once, in whatever order."""
        return read_grouped(keys, lambda key: key.partition(":")[0], self._read_shard)

    def _read_shard(self, shard: str, keys: list[str]) -> Iterator[bytes | OSError]:
        try:
            stream = self.files[shard].open()
        except OSError as error:
            yield from [error] * len(keys)
            return
        with stream:
            for key in keys:
                _, offset, member = key.split(":", 2)
                try:
                    yield _read_member(stream, shard, int(offset), member)
                except (OSError, tarfile.TarError) as error:
                    yield error if isinstance(error, OSError) else OSError(str(error))

    def fingerprint(self) -> str:
        """Over shard names and sizes, and the keys."""
        sizes = [f"{name}\t{file.size()}" for name, file in self.files.items()]
        return digest([*sizes, *(row.key for row in self.rows)])


def _list_shard(part: Part) -> list[tuple[str, str | None]]:
    """Key and label text of every image of a shard, in order. SourceError when it is none."""
    images: list[tuple[str, str]] = []
    labels: dict[str, str] = {}
    try:
        with part.place.open() as stream, tarfile.open(fileobj=stream, mode="r:") as shard:
            for member in shard:
                _note_member(shard, member, f"{part.name}:{member.offset}", images, labels)
    except (OSError, tarfile.TarError) as error:
        raise SourceError(f"{part.place} is not an uncompressed tar shard: {error}") from error
    return [(key, labels.get(sample)) for key, sample in images]


def _note_member(
    shard: tarfile.TarFile,
    member: tarfile.TarInfo,
    place: str,
    images: list[tuple[str, str]],
    labels: dict[str, str],
) -> None:
    """Add a member to the images (key, sample) or to the labels by sample, if it is either."""
    if not member.isfile():
        return
    stem, _, extension = PurePosixPath(member.name).name.partition(".")
    sample = str(PurePosixPath(member.name).with_name(stem))
    if f".{extension.rpartition('.')[2].lower()}" in SUFFIXES:
        images.append((f"{place}:{member.name}", sample))
    elif extension in ("cls", "json"):
        content = shard.extractfile(member)
        label = _label(extension, content.read() if content else b"")
        if label is not None:
            labels[sample] = label


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


def _read_member(stream: BinaryIO, shard: str, offset: int, name: str) -> bytes:
    """The bytes of the member whose header lies at an offset."""
    stream.seek(offset)
    archive = tarfile.TarFile(fileobj=stream)
    member = archive.next()
    content = archive.extractfile(member) if member and member.name == name else None
    if content is None:
        raise OSError(f"{shard} has changed: {name} is no longer at {offset}")
    return content.read()
