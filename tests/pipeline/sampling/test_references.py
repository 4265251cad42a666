"""Pictures, masks and references as users give them."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from nvg.errors import InputError
from nvg.format.base import StoreError
from nvg.geometry import Geometry, labels
from nvg.sampling.control import Condition
from nvg.weights import fingerprint
from pipeline.sampling.references import (
    keep_text,
    load_reference,
    mask_of,
    parse_keep,
    picture_control,
    reference_control,
    require_codes,
)
from tests.nvg.store.makers import make_store
from tests.nvg.tokenizer.makers import tiny_autoencoder, write_autoencoder
from tests.pipeline.images.makers import picture
from tests.pipeline.sampling.makers import tokens_reference

GRID = Geometry(4)


def save(path: Path, values: object, mode: str | None = None) -> Path:
    """An array as a picture file."""
    image = Image.fromarray(np.asarray(values, np.uint8))
    (image.convert(mode) if mode else image).save(path)
    return path


@pytest.mark.parametrize("size", [4, 7, 100])
@pytest.mark.parametrize("mode", [None, "RGB", "1", "P"])
def test_a_picture_of_any_size_and_mode(tmp_path: Path, size: int, mode: str | None) -> None:
    """Upper half black, lower half white: stage 1 splits there, for all images."""
    values = np.zeros((size, size))
    values[(size + 1) // 2 :] = 255
    control = picture_control(save(tmp_path / "a.png", values, mode), None, GRID, 3)
    assert control.structure_stages == 2 or size == 7
    found = labels(control.leaves, 1, 4).view(3, 4, 4)
    assert torch.equal(found[:, :2], torch.zeros(3, 2, 4, dtype=torch.int64))
    assert torch.equal(found[:, 2:], torch.ones(3, 2, 4, dtype=torch.int64))
    deeper = picture_control(tmp_path / "a.png", "structure:4", GRID, 1)
    assert deeper.structure_stages == 4


def test_pictures_of_no_use_are_named(tmp_path: Path) -> None:
    """Missing, no picture, one colour, a photo, tokens asked of a picture, too many stages."""
    (tmp_path / "text.png").write_text("no")
    flat = save(tmp_path / "flat.png", np.full((8, 8), 9))
    photo = tmp_path / "photo.png"
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    Image.fromarray(noise).save(photo)
    half = save(tmp_path / "half.png", [[0, 255]])
    for path, keep, words in (
        (tmp_path / "none.png", None, "cannot be read"),
        (tmp_path / "text.png", None, "not an image"),
        (flat, None, "one colour"),
        (photo, None, "regions on a grid"),
        (half, "all:2", "has structure only"),
        (half, "structure:6", r"has 1\.\.5"),
        (half, "deep", "neither structure:M nor all:M"),
    ):
        with pytest.raises(InputError, match=words):
            picture_control(path, keep, GRID, 1)


def test_keep_is_parsed() -> None:
    """A word and a number, or several up to ever later stages; and written again."""
    some, whole = Condition.STRUCTURE, Condition.ALL
    for text, kept in (
        ("structure:3", [some] * 3),
        ("all:1", [whole]),
        ("all:2,structure:5", [whole] * 2 + [some] * 3),
        ("structure:1,all:2,structure:3", [some, whole, some]),
    ):
        assert parse_keep(text) == kept
        assert keep_text(kept) == text
    for text in ("all", "all:", "all:-1", "tokens:2", ":2", "", "all:2,", "all:1000000000"):
        with pytest.raises(InputError, match="neither"):
            parse_keep(text)
    for text in ("all:2,structure:2", "all:3,structure:1"):
        with pytest.raises(InputError, match="larger than the one before"):
            parse_keep(text)


def test_a_row_of_a_store(tmp_path: Path) -> None:
    """The first view of a valid row; a bad row, one beyond, another tokenizer are refused."""
    store = make_store(tmp_path / "a.vgs", 6, 2, bad=(2,))
    identity = store.manifest.tokenizer
    found = load_reference(f"{store.path}:3", identity, None)
    assert np.array_equal(found.leaves[0].numpy(), store.leaves[3, 0])
    assert np.array_equal(found.content[0].numpy(), store.content[3, 0])
    for row in (2, 6):
        with pytest.raises(InputError, match=f"row {row} "):
            load_reference(f"{store.path}:{row}", identity, None)
    with pytest.raises(StoreError, match="was made by tokenizer"):
        load_reference(f"{store.path}:3", "f" * 64, None)


def test_an_image_through_the_tokenizer(tmp_path: Path) -> None:
    """Its tokens; without the tokenizer, with another, or without an image: refused."""
    model = write_autoencoder(tmp_path / "run")
    picture(24).save(tmp_path / "a.png")
    found = load_reference(str(tmp_path / "a.png"), fingerprint(model), tmp_path / "run")
    assert found.leaves.shape == (1, 16)
    assert found.content.max() < 16
    assert load_reference(str(tmp_path / "a.png"), fingerprint(model), tmp_path / "run")
    (tmp_path / "text.png").write_text("no")
    other = fingerprint(tiny_autoencoder(5))
    for text, identity, run, words in (
        ("a.png", fingerprint(model), None, "needs --tokenizer"),
        ("a.png", other, tmp_path / "run", "is not the tokenizer"),
        ("none.png", other, tmp_path / "run", "neither STORE.vgs:ROW nor an image"),
        ("text.png", fingerprint(model), tmp_path / "run", "cannot be used: not an image"),
    ):
        with pytest.raises(InputError, match=words):
            load_reference(str(tmp_path / text), identity, run)


def test_tokens_in_json(tmp_path: Path) -> None:
    """As the studio gives them; other JSON, another tokenizer and no image are refused."""
    path, good = tmp_path / "reference.json", tokens_reference("x")
    path.write_text(json.dumps(good))
    found = load_reference(str(path), "x", None)
    assert found.leaves.tolist() == [good["leaves"]]
    assert found.content.tolist() == [good["content"]]
    with pytest.raises(InputError, match="the generators were trained with y"):
        load_reference(str(path), "y", None)
    with pytest.raises(InputError, match="outside the codebook of 2"):
        require_codes(found, 2)
    wrong: list[Any] = [
        [],
        {"leaves": [0]},
        {**good, "leaves": [True] * 16},
        {**good, "content": 3},
    ]
    for table in wrong:
        path.write_text(json.dumps(table))
        with pytest.raises(InputError, match="lists of numbers: leaves, content, tokenizer"):
            load_reference(str(path), "x", None)
    with pytest.raises(InputError, match="cannot be read"):
        load_reference(str(tmp_path / "none.json"), "x", None)


def test_masks_and_stages_exclude_each_other(tmp_path: Path) -> None:
    """White is resampled; one of the two options says what is kept."""
    store = make_store(tmp_path / "a.vgs", 6)
    reference = load_reference(f"{store.path}:0", store.manifest.tokenizer, None)
    mask = save(tmp_path / "mask.png", [[0, 255], [0, 255]])
    assert mask_of(mask).tolist() == [[0, 1], [0, 1]]
    control = reference_control(reference, None, mask, GRID, 2)
    assert control.region is not None
    assert control.region[0].view(4, 4)[:, :2].all()
    assert not control.region[0].view(4, 4)[:, 2:].any()
    with pytest.raises(InputError, match="leave --keep out"):
        reference_control(reference, "all:2", mask, GRID, 2)
    with pytest.raises(InputError, match="needs --keep"):
        reference_control(reference, None, None, GRID, 2)
