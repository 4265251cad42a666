"""Files that a page downloads."""

import io
import json
import zipfile
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from nvg.errors import InputError
from pipeline.sampling.request import read_request
from pipeline.studio import downloads
from pipeline.studio.models import Models
from tests.pipeline.sampling.makers import HALF
from tests.pipeline.studio.makers import FREE, decoded, pixels_of, row_reference


def references(models: Models, *rows: int) -> Any:
    """Rows of the store."""
    table = {"references": [row_reference(models, row) for row in rows]}
    return downloads.read_references(table, 16)


def test_pictures_of_the_stages(models: Models) -> None:
    """An animation, a sheet of several, and finished images in rows."""
    first, second = references(models, 1, 2)
    with Image.open(io.BytesIO(downloads.gif(models, first))) as animation:
        assert getattr(animation, "n_frames", 1) == 5
    one, two = (pixels_of(downloads.sheet(models, part)) for part in ([first], [first, second]))
    assert two.shape[0] > one.shape[0]
    assert two.shape[1] == one.shape[1]
    found = pixels_of(downloads.contact(models, [first, second], ["a"], 2))
    sequences = models.sequences(second)
    pixels = models.generators.detokenizer.decode(sequences.content, sequences.leaves.long())
    wanted = np.kron(pixels[0].permute(1, 2, 0).numpy(), np.ones((8, 8, 1), np.uint8))
    assert np.array_equal(found[4:68, -68:-4], wanted)


def test_a_film_of_a_row_has_its_label(models: Models) -> None:
    """And tokens, so that the row can be kept parts of in another request."""
    (reference,) = references(models, 1)
    found = downloads.film(models, reference)
    assert models.store
    entry = models.store.entry(1)
    assert (found["label"], found["name"]) == (entry["label"], entry["key"])
    again = downloads.film(models, downloads.read_references({"reference": found["reference"]})[0])
    assert again["film"] == found["film"]
    assert again["label"] is None
    rebuilt = models.film(models.sequences(reference)).canvases[-1][0].permute(1, 2, 0)
    shown = torch.tensor(pixels_of(decoded(found["film"][-1]["canvas"])))
    assert torch.equal(shown, rebuilt)


def test_a_bundle_has_all_that_repeats_a_request(models: Models) -> None:
    """Equal requests give equal bytes."""
    request = models.complete({**FREE, "drawing": {"regions": HALF}})
    data = downloads.bundle(models, request)
    assert data == downloads.bundle(models, request)
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        names = ["request.json", "command.txt", "repeat.py", "drawing.png"]
        assert archive.namelist() == names
        assert read_request(json.loads(archive.read("request.json"))) == request
        assert b"--structure drawing.png" in archive.read("command.txt")


def test_bad_questions_are_named(models: Models) -> None:
    """How many, and of what."""
    row = row_reference(models)
    for table, most, words in (
        ({}, 1, "a reference is a JSON object"),
        ([], 1, "name 1 reference"),
        ({"references": []}, 16, "name 1..16 references"),
        ({"references": [row] * 17}, 16, "name 1..16 references"),
        ({"reference": {"row": 3}}, 1, "a reference has store and row"),
    ):
        with pytest.raises(InputError, match=words):
            downloads.read_references(table, most)
    for more, words in (
        ({}, "columns must be 1..64"),
        ({"columns": 2, "names": ["a"]}, "3 images in 2 columns need 2 names"),
    ):
        with pytest.raises(InputError, match=words):
            downloads.read_contact({"references": [row] * 3, **more})
