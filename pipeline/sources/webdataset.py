"""WebDataset tar shards: an image and its label are members of one name but for the suffix."""

import json
import tarfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from nvg.errors import first_line
from pipeline.sources.base import BadImageError, Row, SourceError, digest, require_unicode
from pipeline.sources.grouped import read_grouped
from pipeline.sources.labels import label_ids
from pipeline.sources.names import (
    HEAD,
    JUNK,
    NO_IMAGE,
    SUFFIXES,
    add_up,
    starts_an_image,
    why_no_image,
)
from pipeline.sources.place import MOST_BYTES
from pipeline.sources.splits import Part, parts_of, require_images

LISTED_AT_ONCE = 8  # shards
MOST_LABEL = 1 << 20  # bytes that are read of a label


class TarSource:
    """Uncompressed tar shards, file or folder, in the order of names and members.

    The label of `NAME.jpg` is in `NAME.cls`, a number or a class name, or `label` in `NAME.json`;
    NAME may also end at its first dot. An image without either has label -1. A key is
    `SHARD:OFFSET:MEMBER`, so that any worker finds an image by one seek. Names of shards or folders
    may tell splits apart (`parts_of`).
    """

    def __init__(self, path: str | Path) -> None:
        parts = parts_of(path, ".tar")
        self.files = {part.name: part.place for part in parts}
        if not parts:
            raise SourceError(f"data.path {path} holds no *.tar shards")
        with ThreadPoolExecutor(LISTED_AT_ONCE) as pool:
            listed = list(zip(parts, pool.map(_list_shard, parts), strict=True))
        found = [
            (key, shard.label_of(image), part.split)
            for part, shard in listed
            for key, image in shard.images
        ]
        self.left_out = add_up(reason for _, shard in listed for reason in shard.left_out)
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
        return read_grouped(keys, self._shard_of, self._read_shard)

    def _shard_of(self, key: str) -> str:
        """The shard that a key begins with; its name may have colons of its own."""
        end = key.find(":")
        while end >= 0 and key[:end] not in self.files:
            end = key.find(":", end + 1)
        return key[:end] if end >= 0 else key.partition(":")[0]

    def _read_shard(self, shard: str, keys: list[str]) -> Iterator[bytes | OSError]:
        try:
            stream = self.files[shard].open()
        except OSError as error:
            yield from [error] * len(keys)
            return
        with stream:
            for key in keys:
                offset, _, member = key[len(shard) + 1 :].partition(":")
                try:
                    yield _read_member(stream, shard, int(offset), member)
                except OSError as error:
                    yield error
                except Exception as error:  # whatever a damaged header causes
                    yield BadImageError(f"{shard} is damaged there: {first_line(error)}")

    def fingerprint(self) -> str:
        """Over shard names and sizes, and the keys."""
        sizes = [f"{name}\t{file.size()}" for name, file in self.files.items()]
        return digest([*sizes, *(row.key for row in self.rows)])


@dataclass
class _Shard:
    """What is found in a shard while it is listed."""

    name: str
    images: list[tuple[str, str]] = field(default_factory=list)
    """Key and path of each image in the shard."""
    labels: dict[str, str] = field(default_factory=dict)
    """Label text by the path of its member without the last suffix."""
    left_out: list[str] = field(default_factory=list)
    """Why each other member is no image."""

    def note(self, shard: tarfile.TarFile, member: tarfile.TarInfo) -> None:
        """Count a member as what it is."""
        path = PurePosixPath(member.name)
        reason, extension = why_no_image(member.name), path.suffix
        if not member.isfile():
            return
        if extension in (".cls", ".json") and reason != JUNK:
            label = _label(extension, _content(shard, member))
            if label is not None:
                self.labels[str(path.with_suffix(""))] = label
            return
        if not reason and not extension and not starts_an_image(_content(shard, member, HEAD)):
            reason = NO_IMAGE
        if reason:
            self.left_out.append(reason)
        else:
            self.images.append((f"{self.name}:{member.offset}:{member.name}", member.name))

    def label_of(self, image: str) -> str | None:
        """That of `a.v0.png` is in `a.v0.cls`, or else in `a.cls`."""
        path = PurePosixPath(image)
        first = path.with_name(path.name.partition(".")[0] or path.name)
        whole = str(path.with_suffix(""))
        return self.labels.get(whole, self.labels.get(str(first)))


def _list_shard(part: Part) -> _Shard:
    """The images, labels and other members of a shard, in order. SourceError when it is none."""
    found = _Shard(part.name)
    try:
        with part.place.open() as stream, tarfile.open(fileobj=stream, mode="r:") as shard:
            for member in shard:
                found.note(shard, member)
    except Exception as error:  # whatever a file from elsewhere causes
        reason = first_line(error)
        raise SourceError(f"{part.place} is not an uncompressed tar shard: {reason}") from error
    return found


def _content(shard: tarfile.TarFile, member: tarfile.TarInfo, most: int = MOST_LABEL) -> bytes:
    """The first bytes of a member; none of a sparse one, which may claim any size."""
    content = None if member.issparse() else shard.extractfile(member)
    return content.read(most) if content else b""


def _label(extension: str, content: bytes) -> str | None:
    """The label as text; None where a JSON has none."""
    text = content.decode(errors="replace").strip()
    if extension == ".cls":
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
    if member is None or member.name != name:
        raise OSError(f"{shard} has changed: {name} is no longer at {offset}")
    if member.issparse() or member.size > MOST_BYTES:
        raise BadImageError(f"a member of {member.size} bytes, sparse or too large for an image")
    content = archive.extractfile(member)
    if content is None:
        raise OSError(f"{shard} has changed: {name} is no longer at {offset}")
    return content.read()
