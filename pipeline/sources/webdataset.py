"""WebDataset tar shards: an image and its label are members of one name but for the suffix."""

import math
import tarfile
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain, pairwise
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO

import numpy as np

from nvg.errors import first_line
from nvg.store import Split
from pipeline.sources.base import BadImageError, Row, SourceError, digest, require_unicode
from pipeline.sources.counts import Counting, Counts, Spread
from pipeline.sources.grouped import read_grouped
from pipeline.sources.labels import classes_of, label_text
from pipeline.sources.names import (
    HEAD,
    JUNK,
    NO_IMAGE,
    SUFFIXES,
    add_up,
    sample_name,
    starts_an_image,
    why_no_image,
)
from pipeline.sources.place import MOST_BYTES
from pipeline.sources.rows import Entry, PartListing, Rows, has_changed
from pipeline.sources.splits import Part, parts_of, require_images

PART_ROWS = 256  # images of a part of a shard, and a few more
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
        held = [parts[number].split is Split.VAL for number in counts.places[::2]]
        rows = Rows.split(_Shards(parts, counts), held, counts.rows)
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
    """The images of shards, of which parts are listed anew; the last part stays listed."""

    def __init__(self, shards: Sequence[Part], counts: Counts) -> None:
        super().__init__(counts.rows)
        self.shards, self.classes = shards, counts.classified()
        self.numbers = np.array(counts.places[::2], np.int32)
        self.starts = np.array(counts.places[1::2], np.int64)
        self.last: tuple[int, list[Entry]] | None = None

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"last": None}

    def part(self, part: int, first: int, stop: int) -> list[Entry]:
        """A part is listed whole: the label of an image may come after it."""
        last = self.last
        if last is None or last[0] != part:
            self.last = last = part, self._listed(part)
        return last[1][first:stop]

    def _listed(self, part: int) -> list[Entry]:
        number, after = int(self.numbers[part]), part + 1
        is_last = after == len(self.numbers) or self.numbers[after] != number
        end = None if is_last else int(self.starts[after])
        shard = _list_shard(self.shards[number], int(self.starts[part]), end)
        if len(shard.images) != self.ends[part] - (self.ends[part - 1] if part else 0):
            raise has_changed(self.shards[number].place)
        labels = shard.labels()
        ids = self.classes.ids(_label_of(image, labels) for _, image in shard.images)
        return [(key, label) for (key, _), label in zip(shard.images, ids, strict=True)]


@dataclass(frozen=True)
class _Counted:
    """What counting a shard finds."""

    parts: list[tuple[int, int]]
    keys: str
    """A line each."""
    labels: frozenset[str]
    left_out: dict[str, int]


def _count_shard(part: Part) -> _Counted:
    shard = _list_shard(part)
    keys, labels = [key for key, _ in shard.images], shard.labels()
    require_unicode(keys, part.place)
    found = {_label_of(image, labels) for _, image in shard.images} - {None}
    return _Counted(
        shard.parts(), "\n".join(keys), frozenset(map(str, found)), add_up(shard.left_out)
    )


def _counts(shards: Sequence[Part], spread: Spread, path: object) -> Counts:
    """The sum over all shards. SourceError where they hold no image, or odd labels."""
    rows, places, labels, left_out = list[int](), list[int](), set[str](), Counter[str]()

    def keys() -> Iterator[str]:
        for number, found in enumerate(spread(_count_shard, shards)):
            for start, count in found.parts:
                rows.append(count)
                places.extend((number, start))
            labels.update(found.labels)
            left_out.update(found.left_out)
            if found.keys:
                yield found.keys

    sizes = [f"{shard.name}\t{shard.place.size()}" for shard in shards]
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
        places=tuple(places),
        fingerprint=fingerprint,
    )


@dataclass
class _Shard:
    """What is found in a shard, or in a part of one, while it is listed."""

    name: str
    images: list[tuple[str, str]] = field(default_factory=list)
    """Key and path of each image in the shard."""
    starts: list[int] = field(default_factory=list)
    """Where the members begin that lie before each image and are called as it is."""
    noted: list[tuple[int, str, str]] = field(default_factory=list)
    """Place of each label, path of its member without the last suffix, and text."""
    left_out: list[str] = field(default_factory=list)
    """Why each other member is no image."""
    sample: tuple[str, int] = ("", 0)
    """What the last members were called up to the first dot, and where they began."""

    def note(self, shard: tarfile.TarFile, member: tarfile.TarInfo) -> None:
        """Count a member as what it is."""
        path = PurePosixPath(member.name)
        reason, extension = why_no_image(member.name), path.suffix
        if not member.isfile():
            return
        if (called := sample_name(path)) != self.sample[0]:
            self.sample = called, member.offset
        if extension in (".cls", ".json") and reason != JUNK:
            label = label_text(extension, _content(shard, member))
            if label is not None:
                self.noted.append((member.offset, str(path.with_suffix("")), label))
            return
        if not reason and not extension and not starts_an_image(_content(shard, member, HEAD)):
            reason = NO_IMAGE
        if reason:
            self.left_out.append(reason)
        else:
            self.images.append((f"{self.name}:{member.offset}:{member.name}", member.name))
            self.starts.append(self.sample[1])

    def labels(self, start: int = 0, end: float = math.inf) -> dict[str, str]:
        """Those that lie between two places, by the path without suffix."""
        low, high = (bisect_left(self.noted, (place,)) for place in (start, end))
        return {path: text for _, path, text in self.noted[low:high]}

    def parts(self) -> list[tuple[int, int]]:
        """First byte and number of images of each part that can be listed without the others.

        The whole shard is one where a label lies far from its image.
        """
        firsts = [0]
        for n in range(PART_ROWS, len(self.images)):
            if n - firsts[-1] >= PART_ROWS and self.starts[n] > self.starts[n - 1]:
                firsts.append(n)
        edges = [0, *(self.starts[n] for n in firsts[1:]), math.inf]
        found, every = list[tuple[int, int]](), self.labels()
        for (first, stop), (low, high) in zip(
            pairwise([*firsts, len(self.images)]), pairwise(edges), strict=True
        ):
            own = self.labels(int(low), high)
            images = [image for _, image in self.images[first:stop]]
            if any(_label_of(image, own) != _label_of(image, every) for image in images):
                return [(0, len(self.images))]
            found.append((int(low), stop - first))
        return found


def _label_of(image: str, labels: dict[str, str]) -> str | None:
    """That of `a.v0.png` is in `a.v0.cls`, or else in `a.cls`."""
    path = PurePosixPath(image)
    return labels.get(str(path.with_suffix("")), labels.get(sample_name(path)))


def _list_shard(part: Part, start: int = 0, end: int | None = None) -> _Shard:
    """The images, labels and other members of a shard, in order. SourceError when it is none.

    Those that begin at `start` or after it, and before `end`.
    """
    found = _Shard(part.name)
    try:
        with part.place.open() as stream:
            stream.seek(start)
            with tarfile.open(fileobj=stream, mode="r:") as shard:
                for member in shard:
                    if end is not None and member.offset >= end:
                        break
                    found.note(shard, member)
    except Exception as error:  # whatever a file from elsewhere causes
        reason = first_line(error)
        raise SourceError(f"{part.place} is not an uncompressed tar shard: {reason}") from error
    return found


def _content(shard: tarfile.TarFile, member: tarfile.TarInfo, most: int = MOST_LABEL) -> bytes:
    """The first bytes of a member; none of a sparse one, which may claim any size."""
    content = None if member.issparse() else shard.extractfile(member)
    return content.read(most) if content else b""


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
