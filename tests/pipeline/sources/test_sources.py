"""Sources: the same rows every time, the right bytes for each, and errors that name the path."""

from pathlib import Path

import pytest

from nvg.errors import InputError
from pipeline.recipe import DataConfig, SourceKind
from pipeline.sources import (
    SourceError,
    open_source,
)
from tests.pipeline.sources.makers import opened


@pytest.mark.parametrize(
    ("kind", "make", "words"),
    [
        (SourceKind.FOLDER, "nothing", "does not exist"),
        (SourceKind.PARQUET, "nothing", "does not exist"),
        (SourceKind.FOLDER, "empty", "holds no images"),
        (SourceKind.PARQUET, "empty", "parquet"),
        (SourceKind.FOLDER, "dirs", "<class>/<image>"),
        (SourceKind.ARROW, "empty", "arrow"),
        (SourceKind.ARROW, "file", "columns image, label"),
        (SourceKind.WEBDATASET, "empty", "tar"),
        (SourceKind.WEBDATASET, "file", "uncompressed tar"),
        (SourceKind.MANIFEST, "empty", "no list of images"),
        (SourceKind.MANIFEST, "file", r"must end in one of \.csv"),
        (SourceKind.FOLDER, "file", "not a directory"),
        (SourceKind.PARQUET, "file", "columns image, label"),
        (SourceKind.PARQUET, "text", "columns image, label"),
    ],
)
def test_a_source_that_cannot_be_used_is_named(
    tmp_path: Path, kind: SourceKind, make: str, words: str
) -> None:
    """One line with the path and what is missing there."""
    path = tmp_path / "set"
    if make in ("empty", "dirs", "text"):
        path.mkdir()
    if make == "dirs":
        (path / "ant").mkdir()
    if make == "file":
        path.write_text("text")
    if make == "text":
        (path / "a.parquet").write_text("text")
    with pytest.raises(SourceError, match=words) as caught:
        opened(kind, path)
    assert str(path) in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1


def test_a_column_of_labels_for_sources_that_have_columns(tmp_path: Path) -> None:
    """It is used, and refused where there are none."""
    listed = tmp_path / "a.csv"
    listed.write_text("path,label,kind\na.png,1,cat\n")
    config = DataConfig(source=SourceKind.MANIFEST, path=str(listed), label="kind")
    assert open_source(config).classes == ["cat"]
    with pytest.raises(SourceError, match=r"data\.label names a column, and a folder source has"):
        open_source(DataConfig(source=SourceKind.FOLDER, path=str(tmp_path), label="kind"))


@pytest.mark.parametrize("kind", [kind for kind in SourceKind if kind is not SourceKind.DIGITS])
def test_a_source_needs_its_path(kind: SourceKind) -> None:
    """Without data.path the error names the key."""
    with pytest.raises(InputError, match=r"data\.path"):
        open_source(DataConfig(source=kind))
