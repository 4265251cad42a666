"""Files that list images: every kind holds the same entries."""

import gzip
import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.sources import Place
from pipeline.sources.list_files import is_list, list_entries

ENTRIES = [{"path": "a b.png", "label": "cat"}, {"path": "c.png", "label": "dog"}]
TEXTS = {
    "a.csv": "path,label\na b.png,cat\nc.png,dog\n",
    "blanks.csv": "\ufeff Path , LABEL\na b.png, cat\nc.png, dog\n",
    "a.tsv": "path\tlabel\na b.png\tcat\nc.png\tdog\n",
    "a.json": json.dumps(ENTRIES),
    "a.jsonl": "\n".join(map(json.dumps, ENTRIES)),
    "a.ndjson": "\n\n".join(map(json.dumps, ENTRIES)),
}


@pytest.mark.parametrize("name", [*TEXTS, *(f"{name}.gz" for name in TEXTS), "a.parquet"])
def test_every_kind_has_the_entries(tmp_path: Path, name: str) -> None:
    """Also with blanks and capitals in its header, also packed."""
    file = tmp_path / name
    if name == "a.parquet":
        pq.write_table(pa.Table.from_pylist(ENTRIES), file)
    else:
        data = TEXTS[name.removesuffix(".gz")].encode()
        file.write_bytes(gzip.compress(data) if name.endswith(".gz") else data)
    assert is_list(name)
    assert [entry for _, entry in list_entries(Place(file))] == ENTRIES


@pytest.mark.parametrize(
    ("name", "data", "words"),
    [
        ("a.txt", b"a.png", "must end in one of"),
        ("a.json", b'{"path": "a.png"}', "no JSON list"),
        ("a.json", b"[1]", "line 1 is no object"),
        ("a.csv.gz", gzip.compress(b"path\na.png", mtime=0)[:-9], "cut short"),
        ("a.parquet", b"text", "Parquet"),
    ],
)
def test_what_is_no_list_is_told(tmp_path: Path, name: str, data: bytes, words: str) -> None:
    """By one error of the two kinds that a source names."""
    (tmp_path / name).write_bytes(data)
    with pytest.raises((ValueError, OSError), match=words):
        list(list_entries(Place(tmp_path / name)))


def test_a_json_list_of_paths(tmp_path: Path) -> None:
    """Images without labels."""
    (tmp_path / "a.json").write_text('["a.png"]')
    assert list(list_entries(Place(tmp_path / "a.json"))) == [(1, {"path": "a.png"})]
