"""Pictures from a page: what they become, and what is refused."""

import json
from typing import Any

import numpy as np
import pytest
import torch

from nvg.errors import InputError
from pipeline.images.crops import Crops
from pipeline.images.decode import decode_views
from pipeline.sampling.references import load_reference
from pipeline.studio.models import Models
from pipeline.studio.uploads import photo_answer, read_map, read_mask, read_pixels, restored
from tests.pipeline.studio.makers import FREE, bomb, decoded, pixels_of, png

NOISE = np.random.default_rng(1).integers(0, 256, (20, 24, 3), np.uint8)


def test_maps_and_masks_lie_on_the_grid(models: Models) -> None:
    """Of any size, by majority; the largest region is 0."""
    values = np.zeros((30, 50), np.uint8)
    values[:, 40:] = 200
    found = read_map(png(values), models.geometry)
    assert found == {"regions": [0, 0, 0, 1] * 4, "count": 2, "merged": 0}
    assert read_mask(png(values), models.geometry) == {"region": [0, 0, 0, 1] * 4}
    many = read_map(png(np.arange(16).reshape(4, 4)), models.geometry)
    assert (many["count"], many["merged"]) == (8, 8)
    assert sorted(set(many["regions"])) == list(range(8))


def test_a_photo_is_cut_as_those_of_a_dataset(models: Models, tmp_path: Any) -> None:
    """Its tokens are those of `--reference IMAGE`; its last canvas is its reconstruction."""
    pixels = read_pixels(png(NOISE), models)
    assert torch.equal(pixels, torch.from_numpy(decode_views(png(NOISE), Crops(8)).pixels))
    found = photo_answer(models, pixels, "a" * 500)
    (tmp_path / "a.png").write_bytes(png(NOISE))
    wanted = load_reference(
        str(tmp_path / "a.png"), models.generators.tokenizer, models.options.tokenizer
    )
    assert found["reference"]["leaves"] == wanted.leaves[0].tolist()
    assert found["reference"]["content"] == wanted.content[0].tolist()
    assert found["reference"]["name"] == "a" * 200
    shown = torch.tensor(pixels_of(decoded(found["picture"])))
    assert torch.equal(shown, pixels[0].permute(1, 2, 0))
    rebuilt = models.generators.detokenizer.decode(wanted.content, wanted.leaves)
    last = torch.tensor(pixels_of(decoded(found["film"][-1]["canvas"])))
    assert torch.equal(last, rebuilt[0].permute(1, 2, 0))


def test_requests_come_back_from_files(models: Models) -> None:
    """From JSON; a number of an image that is none is refused (PNGs: see the app's tests)."""
    request = models.complete(FREE).as_json()
    found = restored(models, json.dumps(request).encode())
    assert found == {"request": request, "image": None, "warnings": []}


@pytest.mark.parametrize("read", [read_map, read_mask, read_pixels, restored])
def test_bombs_are_refused_unread(models: Models, read: Any) -> None:
    """By what the header says; and what is no picture."""
    what: Any = models.geometry if read in (read_map, read_mask) else models
    for data, words in ((bomb(), "too many pixels: 10000x10000"), (b"\x89PNG", "not an image")):
        with pytest.raises(InputError, match=words):
            _ = read(what, data) if read is restored else read(data, what)
