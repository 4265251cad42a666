"""The splits that sources bring along: told by names, the same from every kind of source."""

import csv
import json
import logging
import tarfile
from pathlib import Path

import pyarrow as pa
import pytest

from nvg.store import Split
from pipeline.recipe import SourceKind
from pipeline.sources import FolderSource, Source, SourceError, split_rows
from pipeline.sources.splits import are_splits, parts_of
from tests.makers import write_image_folder
from tests.pipeline.sources.makers import IMAGE, add_member, opened, write_parquet

# Each split has a class that the others lack; that of the test split is no class.
CLASSES = {"train": ("ant", "bee"), "val": ("bee", "cat"), "test": ("bee", "dog")}
NAMES = ["ant", "bee", "cat"]
KINDS = ["folder", "csv", "jsonl", "tar", "tar folders", "parquet", "arrow", "arrow folders"]


def make(kind: str, path: Path, word: str = "val", splits: tuple[str, ...] = tuple(CLASSES)) -> str:
    """Two images of each class in each split as one kind of source; `word` is val's."""
    path.mkdir()
    for split in splits:
        name = word if split == "val" else split
        keys = write_image_folder(path / "images" / name, CLASSES[split], 2, seed=len(name))
        data = [(path / "images" / name / key).read_bytes() for key in keys]
        texts = [key.partition("/")[0] for key in keys]
        ids = [NAMES.index(text) if text in NAMES else 7 for text in texts]
        if kind == "tar" or kind == "tar folders":
            (path / name).mkdir()
            file = f"{name}-000000.tar" if kind == "tar" else f"{name}/000.tar"
            with tarfile.open(path / file, "w") as shard:
                for n, (text, image) in enumerate(zip(texts, data, strict=True)):
                    add_member(shard, f"{n}.cls", text.encode())
                    add_member(shard, f"{n}.png", image)
        elif kind == "parquet":
            write_parquet(path / f"{name}-00000-of-00001.parquet", data, ids, NAMES)
        elif kind.startswith("arrow"):
            (path / name).mkdir()
            cells = pa.array([{"bytes": part, "path": None} for part in data], IMAGE)
            table = pa.table({"image": cells, "label": ids}).replace_schema_metadata(
                {"huggingface": json.dumps({"info": {"features": {"label": {"names": NAMES}}}})}
            )
            file = f"set-{name}.arrow" if kind == "arrow" else f"{name}/data-00000-of-00001.arrow"
            with pa.ipc.new_stream(path / file, table.schema) as writer:
                writer.write_table(table)
        else:
            entries = [
                {"path": f"images/{name}/{key}", "label": text, "split": name}
                for key, text in zip(keys, texts, strict=True)
            ]
            with (path / f"list.{kind}").open("a", newline="") as listed:
                if kind == "csv":
                    writer_ = csv.DictWriter(listed, ["path", "label", "split"])
                    if split == splits[0]:
                        writer_.writeheader()
                    writer_.writerows(entries)
                else:
                    listed.writelines(json.dumps(entry) + "\n" for entry in entries)
    ends = {"folder": "/images", "csv": "/list.csv", "jsonl": "/list.jsonl"}
    return f"{path}{ends.get(kind, '')}"


def open_kind(kind: str, path: str) -> Source:
    """The source that a recipe would open."""
    name = {"csv": "manifest", "jsonl": "manifest", "tar": "webdataset"}
    return opened(SourceKind(name.get(kind.split()[0], kind.split()[0])), path)


@pytest.mark.parametrize("word", ["val", "validation", "valid"])
@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_source_brings_its_splits(
    tmp_path: Path, kind: str, word: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Classes of both together, the right bytes, and a line that the test split is left out."""
    path = make(kind, tmp_path / "set", word)
    with caplog.at_level(logging.INFO, "nvg"):
        source = open_kind(kind, path)
    assert source.classes == NAMES
    train, val = split_rows(source.rows, 0)
    assert [row.label for row in train] == [0, 0, 1, 1]
    assert [row.label for row in val] == [1, 1, 2, 2]
    assert {row.split for row in train} == {Split.TRAIN}
    assert {row.split for row in val} == {Split.VAL}
    rows = train + val
    source.rows = []  # as a worker has it
    wanted = [
        (tmp_path / "set" / "images" / split / key).read_bytes()
        for split, classes in (("train", NAMES[:2]), (word, NAMES[1:]))
        for key in (f"{name}/00{n}" for name in classes for n in ("0.png", "1.jpg"))
    ]
    assert list(source.read([row.key for row in rows])) == wanted
    lines = [record.getMessage() for record in caplog.records]
    assert lines == [f"{path}: its test split is left out"]


@pytest.mark.parametrize("kind", KINDS)
def test_a_source_of_one_split_only(tmp_path: Path, kind: str) -> None:
    """That of training is a whole source; that of validation alone cannot be trained on."""
    source = open_kind(kind, make(kind, tmp_path / "a", splits=("train",)))
    assert {row.split for row in source.rows} == {Split.TRAIN}
    assert source.classes[:2] == NAMES[:2]
    path = make(kind, tmp_path / "b", splits=("val", "test"))
    with pytest.raises(SourceError, match="has a val split and no train split: add") as caught:
        open_kind(kind, path)
    assert path in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize("kind", KINDS)
def test_rows_are_not_held_out_twice(tmp_path: Path, kind: str) -> None:
    """A recipe that also asks for held-out rows is told what to set."""
    source = open_kind(kind, make(kind, tmp_path / "set"))
    with pytest.raises(
        SourceError, match=r"data\.heldout is 2, but .* 4 images: set data\.heldout"
    ):
        split_rows(source.rows, 2)


@pytest.mark.parametrize("kind", ["folder", "csv", "tar", "parquet", "arrow"])
def test_a_fingerprint_follows_the_splits(tmp_path: Path, kind: str) -> None:
    """An image that goes from one split to the other is noticed; the test split does not count."""
    one, other = make(kind, tmp_path / "a"), make(kind, tmp_path / "b", splits=("train", "val"))
    assert open_kind(kind, one).fingerprint() == open_kind(kind, other).fingerprint()
    if kind == "csv":
        listed = Path(other)
        listed.write_text(listed.read_text().replace("bee,val", "bee,train", 1))
    elif kind == "folder":
        Path(other, "val/bee/000.png").rename(Path(other, "train/bee/999.png"))
    else:
        files = {path.name: path for path in Path(other).glob(f"*val*.{kind}")}
        for name, path in files.items():
            path.rename(path.with_name(name.replace("val", "train-1")))
    assert open_kind(kind, one).fingerprint() != open_kind(kind, other).fingerprint()


@pytest.mark.parametrize(
    ("name", "word"),
    [
        ("train-00000-of-00041", "train"),
        ("train-00000-of-00041-a1b2c3", "train"),
        ("cifar10-test", "test"),
        ("imagenet_val_0007", "val"),
        ("validation.0001", "validation"),
        ("valid", "valid"),
        ("0000", None),
        ("trains-00000", None),
        ("train_images_0", None),
        ("evaluation", None),
        ("Train", None),
    ],
)
def test_a_file_is_named_after_its_split(tmp_path: Path, name: str, word: str | None) -> None:
    """A word for a split, at the end or before a number, as a part of its own."""
    for other in (name, "train-1" if word != "train" else "val-1"):
        (tmp_path / f"{other}.bin").write_bytes(b"x")
    found = {part.name: part.split for part in parts_of(tmp_path, ".bin")}
    wanted = {"train": Split.TRAIN, "val": Split.VAL, "validation": Split.VAL, "valid": Split.VAL}
    if word is None:  # then no name counts
        assert found == {f"{name}.bin": Split.TRAIN, "train-1.bin": Split.TRAIN}
    elif word == "test":
        assert found == {"train-1.bin": Split.TRAIN}
    else:
        assert found[f"{name}.bin"] is wanted[word]


def test_a_single_file_is_no_split(tmp_path: Path) -> None:
    """Whoever names it wants it, whatever it is called; so with a folder of test files."""
    for name in ("validation-00000.bin", "test-00000.bin"):
        (tmp_path / name).write_bytes(b"x")
        (part,) = parts_of(tmp_path / name, ".bin")
        assert (part.name, part.split) == (name, Split.TRAIN)
    (tmp_path / "validation-00000.bin").unlink()
    assert [part.split for part in parts_of(tmp_path, ".bin")] == [Split.TRAIN]


def test_folders_of_files_must_all_be_splits(tmp_path: Path) -> None:
    """Files in a folder of another name are not passed over; there is no such source."""
    for name in ("train", "val", "more"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "0.bin").write_bytes(b"x")
    assert parts_of(tmp_path, ".bin") == []
    (tmp_path / "more" / "0.bin").unlink()
    assert [part.name for part in parts_of(tmp_path, ".bin")] == ["train/0.bin", "val/0.bin"]


@pytest.mark.parametrize("words", [[], ["test"], [None], ["train", "val", None]])
def test_names_that_tell_no_splits_apart(words: list[str | None]) -> None:
    """None at all, only a test split, or one name that is no split's."""
    assert not are_splits(words, "a")


def test_a_folder_of_classes_named_like_splits(tmp_path: Path) -> None:
    """Classes they stay, where one has another name."""
    write_image_folder(tmp_path, ("train", "val", "tram"), 2)
    source = FolderSource(tmp_path)
    assert source.classes == ["train", "tram", "val"]
    assert {row.split for row in source.rows} == {Split.TRAIN}


def test_splits_without_classes(tmp_path: Path) -> None:
    """Images directly in `train` and `val`: two splits, no class; what lies beside is counted."""
    write_image_folder(tmp_path, ("train", "val", "test", ".git", "."), 2)
    source = FolderSource(tmp_path)
    assert source.classes == []
    assert [(row.key, row.label, row.split) for row in source.rows] == [
        ("train/000.png", -1, Split.TRAIN),
        ("train/001.jpg", -1, Split.TRAIN),
        ("val/000.png", -1, Split.VAL),
        ("val/001.jpg", -1, Split.VAL),
    ]
    assert source.left_out == {"outside the split folders": 2}


def test_a_val_split_without_classes_is_refused(tmp_path: Path) -> None:
    """As ImageNet's validation images come: beside class directories they would have no class."""
    write_image_folder(tmp_path / "train", ("ant", "bee"), 2)
    (tmp_path / "val").mkdir()
    (tmp_path / "val" / "ILSVRC2012_val_00000001.JPEG").write_bytes(b"x")
    (tmp_path / "val" / "a.png").write_bytes(b"x")
    with pytest.raises(SourceError, match=f"{tmp_path} has a val split without images: add"):
        FolderSource(tmp_path)
