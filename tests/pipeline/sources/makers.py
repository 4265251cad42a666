"""The same images in every form that a source reads."""

import csv
import io
import json
import tarfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.recipe import DataConfig, SourceKind
from pipeline.sources import (
    FolderSource,
    Row,
    Source,
    open_source,
)


class Listed:
    """A source of given bytes: the key of each row is its number."""

    def __init__(self, *files: bytes | OSError) -> None:
        self.files = files
        self.classes = ["only"]
        self.left_out: dict[str, int] = {}
        self.rows: Sequence[Row] = [Row(str(number), 0) for number in range(len(files))]

    def read(self, keys: Sequence[str]) -> Iterator[bytes | OSError]:
        """The given bytes."""
        return (self.files[int(key)] for key in keys)

    def fingerprint(self) -> str:
        """One for all."""
        return "listed"


IMAGE = pa.struct([("bytes", pa.binary()), ("path", pa.string())])


def write_parquet(
    file: Path,
    images: Sequence[bytes | None],
    labels: Sequence[Any],
    names: Sequence[str] | None = ("cat", "dog", "eel"),
    column: str = "image",
    **options: Any,
) -> None:
    """Image Parquet as Hugging Face writes it; `names` become the ClassLabel of its metadata."""
    cells = [{"bytes": data, "path": None} for data in images]
    table = pa.table({column: pa.array(cells, IMAGE), "label": pa.array(labels)})
    if names is not None:
        features = {"label": {"names": list(names), "_type": "ClassLabel"}}
        info = json.dumps({"info": {"features": {column: {"_type": "Image"}, **features}}})
        table = table.replace_schema_metadata({"huggingface": info})
    pq.write_table(table, file, **options)


CLASSES = ("ant", "bee")


def add_member(shard: tarfile.TarFile, name: str, data: bytes) -> None:
    info = tarfile.TarInfo(name)
    info.size = len(data)
    shard.addfile(info, io.BytesIO(data))


def write_shards(source: FolderSource, path: Path, per_shard: int = 4, label: str = "cls") -> None:
    """The images as WebDataset shards, with their labels beside them; long names among them."""
    path.mkdir()
    for start in range(0, len(source.rows), per_shard):
        with tarfile.open(path / f"part-{start:03d}.tar", "w") as shard:
            for n, row in enumerate(source.rows[start : start + per_shard], start):
                suffix = row.key.rpartition(".")[2]
                name = f"{'long/' * 30 * (n % 2)}{n:06d}"
                text = {"cls": str(row.label), "json": json.dumps({"label": CLASSES[row.label]})}
                if label in text:
                    add_member(shard, f"{name}.{label}", text[label].encode())
                (data,) = source.read([row.key])
                assert isinstance(data, bytes)
                add_member(shard, f"{name}.{suffix}", data)


def write_list(source: FolderSource, path: Path, labels: Sequence[object]) -> Path:
    """The images as a list of paths, in the folder above the images."""
    entries = [
        {"path": f"images/{row.key}", "label": label}
        for row, label in zip(source.rows, labels, strict=True)
    ]
    with path.open("w", newline="") as file:
        if path.suffix == ".csv":
            writer = csv.DictWriter(file, ["path", "label"])
            writer.writeheader()
            writer.writerows(entries)
        else:
            file.writelines(json.dumps(entry) + "\n" for entry in entries)
    return path


def write_tables(source: FolderSource, tmp_path: Path) -> None:
    """The images as Parquet, and as Arrow files of both kinds."""
    data = list(source.read([row.key for row in source.rows]))
    labels = [row.label for row in source.rows]
    for name in ("parquet", "stream", "random"):
        (tmp_path / name).mkdir()
    write_parquet(tmp_path / "parquet" / "a.parquet", data, labels, CLASSES)  # type: ignore[arg-type]
    cells = pa.array([{"bytes": part, "path": None} for part in data], IMAGE)
    table = pa.table({"image": cells, "label": labels})
    features = {"label": {"names": list(CLASSES)}}
    info = json.dumps({"info": {"features": features}})
    table = table.replace_schema_metadata({"huggingface": info})
    with pa.ipc.new_stream(tmp_path / "stream" / "a.arrow", table.schema) as writer:
        writer.write_table(table, max_chunksize=2)
    with pa.ipc.new_file(tmp_path / "random" / "a.arrow", table.schema) as writer:
        writer.write_table(table, max_chunksize=4)


def opened(kind: SourceKind, path: Path | str) -> Source:
    """The source a recipe would open."""
    return open_source(DataConfig(source=kind, path=str(path)))
