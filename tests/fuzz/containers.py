"""Tar shards and tables of images: headers, sizes, kinds of members, pages, types of columns."""

import io
import tarfile
from pathlib import Path
from random import Random
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from tests.fuzz.cases import Outcome
from tests.fuzz.changes import Change, change_bytes
from tests.fuzz.judge import first_fault
from tests.fuzz.lists import require_sound, result_of, tokenized
from tests.makers import write_image_folder
from tests.nvg.tokenizer.makers import write_autoencoder
from tests.pipeline.sources.makers import IMAGE, add_member

BLOCK = 512
SHARD_NAMES = ("a.tar", "a:1.tar", "a b.tar", "é.tar", "::.tar", "x-train-0.tar", "0:0:0.tar")
TABLE_NAMES = ("a.parquet", "a:1.parquet", "b.arrow", "a:1.arrow", "train-00000.parquet")
TAR_FIELDS = {"name": (0, 100), "mode": (100, 8), "size": (124, 12), "mtime": (136, 12),
              "kind": (156, 1), "link": (157, 100), "magic": (257, 8),
              "prefix": (345, 155)}  # fmt: skip
ODD_SIZES = (b"77777777777\0", b"00000000000\0", b"-0000000001\0", b"xxxxxxxxxxx\0",
             b"\x80" + b"\xff" * 11, b"\xff" * 12, b"\x80" + bytes(7) + b"\x20\0\0\0")  # fmt: skip
KINDS = b"01234567gxLKSVNA\0D"


class Containers:
    """Mutated shards and tables, tokenized as they are."""

    name, seconds, memory = "containers", 240.0, 1 << 30

    def prepare(self, folder: Path) -> None:
        """A tokenizer and the images to pack."""
        write_autoencoder(folder / "tokenizer")
        write_image_folder(folder / "images", per_class=2)
        require_sound(folder)

    def run(self, templates: Path, work: Path, random: Random) -> Outcome:
        """One file or two in a folder, one of them changed; read as a folder or alone."""
        images = [p.read_bytes() for p in sorted((templates / "images").rglob("*.*"))]
        folder = work / "data"
        folder.mkdir()
        if random.random() < 0.5:
            name = random.choice(SHARD_NAMES)
            data, said = change_tar(tar_bytes(images), random)
            (folder / name).write_bytes(data)
            if random.random() < 0.5:
                (folder / "z.tar").write_bytes(tar_bytes(images))
        else:
            name = random.choice(TABLE_NAMES)
            data, said = odd_table(name, images, random)
            (folder / name).write_bytes(data)
            if random.random() < 0.5:
                other = f"z{Path(name).suffix}"
                (folder / other).write_bytes(table_bytes(other, table_of(images)))
        place = folder if random.random() < 0.7 else folder / name
        answers = tokenized(place, templates / "tokenizer", work)
        return Outcome(f"{name}: {said}", result_of(answers), first_fault(answers))


def tar_bytes(images: list[bytes]) -> bytes:
    """A shard of images with labels."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as shard:
        for number, data in enumerate(images):
            add_member(shard, f"{number:03d}.cls", str(number % 3).encode())
            add_member(shard, f"{number:03d}.png", data)
    return buffer.getvalue()


def change_tar(data: bytes, random: Random) -> Change:
    """A field of a header, with its checksum right again, or any bytes."""
    if random.random() < 0.4:
        return change_bytes(data, random)
    headers = [at for at in range(0, len(data), BLOCK) if data[at + 257 : at + 262] == b"ustar"]
    at, name = random.choice(headers), random.choice([*TAR_FIELDS, "size", "size", "kind", "kind"])
    offset, width = TAR_FIELDS[name]
    if name == "size":
        value = random.choice(ODD_SIZES)
    elif name == "kind":
        value = random.choice([KINDS[n : n + 1] for n in range(len(KINDS))])
    else:
        value = random.choice((b"", b"/etc/passwd", b"../a.png", b"\xff\xfe.png", b"a\x1b[2J.png"))
        value = random.choice((value, b"x.png", b"\xff" * width, b"8" * width))
    header = bytearray(data[at : at + BLOCK])
    header[offset : offset + width] = value.ljust(width, b"\0")[:width]
    header[148:156] = b"%06o\0 " % (sum(header[:148]) + sum(header[156:]) + 256)
    return data[:at] + bytes(header) + data[at + BLOCK :], f"{name} at {at} = {value!r:.60}"


def table_of(images: list[bytes], column: str = "image") -> pa.Table:
    """Images and labels as Hugging Face keeps them."""
    cells: list[Any] = [{"bytes": data, "path": None} for data in images]
    return pa.table({column: pa.array(cells, IMAGE), "label": [n % 3 for n in range(len(images))]})


def table_bytes(name: str, table: pa.Table) -> bytes:
    """A table as the file of this name."""
    sink = pa.BufferOutputStream()
    if name.endswith(".parquet"):
        pq.write_table(table, sink, row_group_size=2)
    else:
        with pa.ipc.new_stream(sink, table.schema) as writer:
            writer.write_table(table)
    data: bytes = sink.getvalue().to_pybytes()
    return data


def odd_table(name: str, images: list[bytes], random: Random) -> Change:
    """Another column, type or cell, or other bytes."""
    table, way = table_of(images), random.randrange(9)
    if way == 0:
        table, said = table_of(images, "picture"), "column picture"
    elif way == 1:
        odd = random.choice((pa.array([None] * len(images), IMAGE), table["label"], table["image"]))
        table, said = pa.table({"image": odd, "label": odd}), f"both columns {odd.type}"
    elif way == 2:
        labels = pa.array([random.choice((None, -1, 0, 2, 5)) for _ in images], pa.int64())
        table, said = table.set_column(1, "label", labels), f"labels {labels.to_pylist()}"
    elif way == 3:
        kind = pa.struct(
            [("bytes", random.choice((pa.string(), pa.int32(), pa.list_(pa.uint8()))))]
        )
        table, said = table.set_column(0, "image", pa.nulls(len(images), kind)), str(kind)
    elif way == 4:
        bad = [{"bytes": d if n % 2 else random.choice((b"", None, b"x")), "path": None}
               for n, d in enumerate(images)]  # fmt: skip
        table, said = table.set_column(0, "image", pa.array(bad, IMAGE)), "odd cells"
    else:
        data, said = change_bytes(table_bytes(name, table), random)
        return data, said
    return table_bytes(name, table), said
