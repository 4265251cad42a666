"""Files that list images: every kind holds the same entries."""

import codecs
import csv
import gzip
import io
import json
import tempfile
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.sources import Place
from pipeline.sources.list_files import is_list, is_whole, list_entries

ENTRIES = [{"path": "a b.png", "label": "cat"}, {"path": "c.png", "label": "dog"}]
TEXTS = {
    "a.csv": "path,label\na b.png,cat\nc.png,dog\n",
    "semicolons.csv": "path;label\na b.png;cat\nc.png;dog\n",
    "tabs.csv": "path\tlabel\na b.png\tcat\nc.png\tdog\n",
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
    found = list(list_entries(Place(file)))
    assert [entry for _, _, entry in found] == ENTRIES
    assert is_whole(name) == name.endswith((".gz", ".json"))
    if not is_whole(name):
        assert [entry for _, _, entry in list_entries(Place(file), found[1][0])] == ENTRIES[1:]


def odd_texts() -> st.SearchStrategy[str]:
    """With line breaks of every kind, quotes, separators and letters of several bytes."""
    return st.text(st.sampled_from('a,"\n\r\té日 '), max_size=6)


@settings(deadline=None, max_examples=60)
@given(
    rows=st.lists(st.tuples(odd_texts(), odd_texts()), max_size=12),
    suffix=st.sampled_from([".csv", ".tsv", ".jsonl", ".parquet"]),
    has_mark=st.booleans(),
)
def test_a_list_is_read_from_any_entry_on(
    rows: list[tuple[str, str]], suffix: str, has_mark: bool
) -> None:
    """The rest is the same, whatever is in its cells."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, f"a{suffix}")
        text = io.StringIO(newline="")
        if suffix == ".jsonl":
            for path, label in rows:
                text.write(
                    json.dumps({"path": path, "label": label}, ensure_ascii=False) + "\r\n\n"
                )
        else:
            writer = csv.writer(text, delimiter="\t" if suffix == ".tsv" else ",")
            writer.writerows([("path", "label"), *rows])
        file.write_bytes(codecs.BOM_UTF8 * has_mark + text.getvalue().encode())
        if suffix == ".parquet":
            table = pa.table({"path": [p for p, _ in rows], "label": [v for _, v in rows]})
            pq.write_table(table, file, row_group_size=3)
        found = list(list_entries(Place(file)))
        for n, (place, _, _) in enumerate(found):
            again = [entry for _, _, entry in list_entries(Place(file), place)]
            assert again == [entry for _, _, entry in found[n:]]
    if suffix in (".jsonl", ".parquet"):
        assert [(entry["path"], entry["label"]) for _, _, entry in found] == rows


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
    assert list(list_entries(Place(tmp_path / "a.json"))) == [(0, 1, {"path": "a.png"})]
