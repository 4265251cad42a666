"""How pictures are read is kept by a store, also where it was begun before there was a choice."""

import logging
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from nvg.format.base import StoreError
from nvg.store import open_store
from pipeline.recipe import Exif
from tests.makers import files_below, tiny_recipe, write_image_folder
from tests.pipeline.images.makers import picture
from tests.pipeline.tokenize.makers import run, stopped


def test_a_store_from_before_pictures_were_turned_goes_on_so(
    tokenizer: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Its manifest has no `data.exif`: what is resumed is the same to the byte, and it is said."""
    write_image_folder(tmp_path / "images", ["ant"], 8)
    exif = Image.Exif()
    exif[0x0112] = 6
    for key in ("000.png", "006.png"):
        picture().convert("LA").save(tmp_path / "images" / "ant" / key, exif=exif)
    recipe = tiny_recipe(tmp_path / "images")
    data = replace(recipe.data, exif=None, icc=None, background=None)
    former = replace(recipe, data=data)
    run(former, tokenizer, tmp_path / "whole.vgs")
    stopped(former, tokenizer, tmp_path / "stopped.vgs", (0,))
    begun = open_store(str(tmp_path / "stopped.vgs")).manifest.recipe["data"]
    assert not {"exif", "icc", "background"} & set(begun)
    caplog.set_level(logging.INFO, "nvg")
    run(recipe, tokenizer, tmp_path / "stopped.vgs", resume=True)
    assert files_below(tmp_path / "stopped.vgs") == files_below(tmp_path / "whole.vgs")
    assert "tokenize into another --out" in caplog.text
    run(recipe, tokenizer, tmp_path / "new.vgs")
    new = open_store(str(tmp_path / "new.vgs"))
    assert new.manifest.recipe["data"]["exif"] == "turn"
    assert (new.content[0] != open_store(str(tmp_path / "whole.vgs")).content[0]).any()


def test_a_store_is_not_resumed_with_another_reading(tokenizer: Path, tmp_path: Path) -> None:
    """A choice that is told is kept."""
    write_image_folder(tmp_path / "images", ["ant"], 8)
    recipe = tiny_recipe(tmp_path / "images")
    stopped(recipe, tokenizer, tmp_path / "a.vgs", (0,))
    other = replace(recipe, data=replace(recipe.data, exif=Exif.IGNORE))
    with pytest.raises(StoreError, match=r"cannot be resumed"):
        run(other, tokenizer, tmp_path / "a.vgs", resume=True)
