"""WebDataset tar shards: an image and its label are members of one name but for the suffix."""

import json
import tarfile
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO

from nvg.errors import first_line
from nvg.store import Split
from pipeline.sources.base import BadImageError, Row, SourceError, digest, require_unicode
from pipeline.sources.counts import Counting, Counts, Spread
from pipeline.sources.grouped import read_grouped
from pipeline.sources.labels import classes_of
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
from pipeline.sources.rows import Entry, PartListing, Rows, has_changed
from pipeline.sources.splits import Part, parts_of, require_images

MOST_LABEL = 1 << 20  # bytes that are read of a label


class TarSource:
    """Uncompressed tar shards, file or folder, in the order of names and members.

    The label of `NAME.jpg` is in `NAME.cls`, a number or a class name, or `label` in `NAME.json`;
    NAME may also end at its first dot. An image without either has label -1. A key is
    `SHARD:OFFSET:MEMBER`, so that any worker finds an image by one seek. Names of shards or folders
    may tell splits apart (`parts_of`).
    """

    def __init__(self, path: str | Path, counting: Counting | None = None) -> None:
        parts = parts_of(path, ".tar")
        self.files = {part.name: part.place for part in parts}
        if not parts:
            raise SourceError(f"data.path {path} holds no *.tar shards")
        counting = counting or Counting()
        counts = counting.of(parts, "tar", lambda spread: _counts(parts, spread, path))
        self.classes, self.left_out = list(counts.classes), dict(counts.left_out)
        rows = Rows.split(
            _Shards(parts, counts), [part.split is Split.VAL for part in parts], counts.rows
        )
        self.rows: Sequence[Row] = rows
        require_images(rows.splits(), (part.split for part in parts), path)
        self._fingerprint = counts.fingerprint

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
        """Over shard names and sizes, and the keys, as they were when the shards were listed."""
        return self._fingerprint


class _Shards(PartListing):
    """The images of shards, which are listed anew; the last shard stays listed."""

    def __init__(self, parts: Sequence[Part], counts: Counts) -> None:
        super().__init__(counts.rows)
        self.parts, self.counts, self.classes = parts, counts.rows, counts.classified()
        self.last: tuple[int, list[Entry]] | None = None

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"last": None}

    def part(self, part: int, first: int, stop: int) -> list[Entry]:
        """A shard is listed whole: the label of an image may come after it."""
        last = self.last
        if last is None or last[0] != part:
            shard = _list_shard(self.parts[part])
            if len(shard.images) != self.counts[part]:
                raise has_changed(self.parts[part].place)
            ids = self.classes.ids(shard.label_of(image) for _, image in shard.images)
            keys = (key for key, _ in shard.images)
            self.last = last = part, list(zip(keys, ids, strict=True))
        return last[1][first:stop]


@dataclass(frozen=True)
class _Counted:
    """What counting a shard finds."""

    rows: int
    keys: str
    """A line each."""
    labels: frozenset[str]
    left_out: dict[str, int]


def _count_shard(part: Part) -> _Counted:
    shard = _list_shard(part)
    keys = [key for key, _ in shard.images]
    require_unicode(keys, part.place)
    labels = {shard.label_of(image) for _, image in shard.images} - {None}
    return _Counted(len(keys), "\n".join(keys), frozenset(map(str, labels)), add_up(shard.left_out))


def _counts(parts: Sequence[Part], spread: Spread, path: object) -> Counts:
    """The sum over all shards. SourceError where they hold no image, or odd labels."""
    rows, labels, left_out = list[int](), set[str](), Counter[str]()

    def keys() -> Iterator[str]:
        for found in spread(_count_shard, parts):
            rows.append(found.rows)
            labels.update(found.labels)
            left_out.update(found.left_out)
            if found.rows:
                yield found.keys

    sizes = [f"{part.name}\t{part.place.size()}" for part in parts]
    fingerprint = digest(chain(sizes, keys()))
    if not any(rows):
        raise SourceError(
            f"data.path {path} holds no images: expected members with one of "
            f"{', '.join(sorted(SUFFIXES))}"
        )
    classes = classes_of(labels, path)
    return Counts(
        rows=tuple(rows),
        classes=tuple(classes.names),
        by_number=classes.by_number,
        left_out=dict(left_out),
        fingerprint=fingerprint,
    )


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
