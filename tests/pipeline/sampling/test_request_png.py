"""PNGs that carry the request they were made by."""

import io
import json
from typing import Any

import numpy as np
import pytest
from PIL import Image

from nvg.errors import InputError
from pipeline.sampling.request_png import carried_request, with_request
from tests.pipeline.sampling.makers import a_request

PIXELS = np.arange(48, dtype=np.uint8).reshape(4, 4, 3)


def test_a_png_carries_its_request() -> None:
    """The pixels stay; names of any language come back; equal requests give equal bytes."""
    table = a_request("läufe/数").as_json()
    data = with_request(Image.fromarray(PIXELS), table, 2)
    assert carried_request(data) == (table, 2)
    assert with_request(Image.fromarray(PIXELS), table, 2) == data
    with Image.open(io.BytesIO(data)) as picture:
        assert np.array_equal(np.asarray(picture), PIXELS)
    assert carried_request(json.dumps(table).encode()) == (table, None)


def test_what_carries_none_is_named() -> None:
    """Another PNG, a damaged one, a text that is no JSON."""
    plain = io.BytesIO()
    Image.fromarray(PIXELS).save(plain, "png")
    wrong: Any = "first"
    damaged = with_request(Image.fromarray(PIXELS), {"run": "a"}, wrong)
    for data, words in (
        (plain.getvalue(), "carries no request"),
        (b"\x89PNG", "not an image"),
        (damaged, "damaged"),
        (b"hello", "not JSON"),
    ):
        with pytest.raises(InputError, match=words):
            carried_request(data)
