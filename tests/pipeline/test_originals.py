"""Originals are read where the user says, and nowhere else."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from nvg.errors import InputError
from nvg.store import Store, open_store
from nvg.view.html import Originals
from pipeline.originals import OriginalImages, original_reader
from pipeline.recipe import DataConfig, SourceKind
from pipeline.sources import FolderSource, Place
from tests.makers import smooth_image, tiny_recipe, write_image_folder
from tests.nvg.store.makers import make_store
from tests.pipeline.images.makers import center_crop, decoded
from tests.pipeline.tokenize.makers import BAD, photos, run


def read(store: Store, place: object, rows: list[int]) -> Originals:
    """What is shown of rows of a store when the user names this place."""
    reader = original_reader(store, str(place))
    assert reader is not None
    return reader(store, rows)


def test_originals_are_the_crops_that_were_tokenized(tokenizer: Path, tmp_path: Path) -> None:
    """They are read from the place that the user names; bad and missing files are left out."""
    recipe = photos(tmp_path / "images")
    run(recipe, tokenizer, tmp_path / "a.vgs")
    store = open_store(str(tmp_path / "a.vgs"))
    keys = store.index["key"].to_pylist()
    gone, bad, good = (
        next(row for row, key in enumerate(keys) if (key in BAD) == is_bad and row >= least)
        for is_bad, least in ((False, 0), (True, 0), (False, 8))
    )
    moved = tmp_path / "moved"
    (tmp_path / "images").rename(moved)
    (moved / keys[gone]).unlink()
    found = read(store, moved, [gone, bad, good])
    assert list(found) == [good]
    wanted = center_crop(decoded(moved / keys[good]), 8)
    assert np.array_equal(found[good], wanted.transpose(1, 2, 0))


def test_nothing_that_only_the_store_names_is_opened(
    tokenizer: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a place of the user's no source is opened at all, though the store names one."""
    run(photos(tmp_path / "images"), tokenizer, tmp_path / "a.vgs")
    monkeypatch.setattr(Place, "__init__", _refuse)
    assert original_reader(open_store(str(tmp_path / "a.vgs")), None) is None


def _refuse(*_: Any) -> None:
    raise AssertionError("a place was opened")


def test_a_place_that_is_not_there_is_said(tokenizer: Path, tmp_path: Path) -> None:
    """It is the user's word, so that silence would be wrong; so for a store without a source."""
    run(photos(tmp_path / "images"), tokenizer, tmp_path / "a.vgs")
    with pytest.raises(InputError, match="does not exist"):
        original_reader(open_store(str(tmp_path / "a.vgs")), str(tmp_path / "none"))
    with pytest.raises(InputError, match="leave --originals out"):
        original_reader(make_store(tmp_path / "b.vgs", 4), str(tmp_path))


@pytest.fixture
def images(tmp_path: Path) -> OriginalImages:
    """A folder that the user names, beside a private picture that links lead to."""
    write_image_folder(tmp_path / "images")
    private = tmp_path / "private"
    private.mkdir()
    smooth_image(np.random.default_rng(0), 16).save(private / "p.png")
    os.symlink(private / "p.png", tmp_path / "images/ant/link.png")
    os.symlink(private, tmp_path / "images/bee/linked")
    return OriginalImages(DataConfig(source=SourceKind.FOLDER, path=str(tmp_path / "images")))


@pytest.mark.parametrize(
    "key",
    [
        "../private/p.png",
        "ant/../../private/p.png",
        "/etc/hostname",
        "~/p.png",
        "http://127.0.0.1:9/p.png",
        "file:///etc/hostname",
        "s3://bucket/p.png",
        "ant/link.png",
        "bee/linked/p.png",
        "ant/\0.png",
        "",
    ],
)
def test_a_key_stays_below_the_place(
    images: OriginalImages, key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No step up, absolute path, home, URL or link out of it is even asked for."""
    asked: list[str] = []
    keep: Callable[..., Any] = FolderSource.read

    def note(self: FolderSource, keys: list[str]) -> Any:
        asked.extend(keys)
        return keep(self, keys)

    monkeypatch.setattr(FolderSource, "read", note)
    store = _Keys([key, "ant/000.png"])
    assert list(images.read(store, [0, 1])) == [1]  # type: ignore[arg-type]
    assert asked == ["ant/000.png"]


class _Keys:
    """A store of these keys."""

    def __init__(self, keys: list[str]) -> None:
        self.keys, self.manifest = keys, SimpleNamespace(image_size=8)

    def entries(self, rows: list[int]) -> list[dict[str, Any]]:
        return [{"row": row, "key": self.keys[row], "label": 0} for row in rows]


def test_a_list_of_the_users_says_what_may_be_read(tmp_path: Path) -> None:
    """What it names is read, also elsewhere; a key that is not in it is not."""
    write_image_folder(tmp_path / "images")
    named = tmp_path / "images/ant/000.png"
    (tmp_path / "lists").mkdir()
    (tmp_path / "lists/a.csv").write_text(f"path,label\n{named},0\n")
    images = OriginalImages(
        DataConfig(source=SourceKind.MANIFEST, path=str(tmp_path / "lists/a.csv"))
    )
    assert images.holds(str(named))
    assert not images.holds(str(tmp_path / "images/ant/001.jpg"))


def test_a_class_folder_that_has_gone_hides_no_other(tokenizer: Path, tmp_path: Path) -> None:
    """Its images are left out; those of the classes after it are shown."""
    keys = write_image_folder(tmp_path / "images", per_class=2)
    run(tiny_recipe(tmp_path / "images"), tokenizer, tmp_path / "a.vgs")
    store = open_store(str(tmp_path / "a.vgs"))
    shutil.rmtree(tmp_path / "images" / "ant")
    found = read(store, tmp_path / "images", list(range(len(keys))))
    assert sorted(found) == [row for row, key in enumerate(keys) if not key.startswith("ant/")]
