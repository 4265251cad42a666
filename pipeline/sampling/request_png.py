"""A sampled image as a PNG that carries its request, and back."""

import io
import json
from typing import Any

from PIL import Image, PngImagePlugin

from nvg.errors import InputError
from pipeline.images.decode import open_picture
from pipeline.sampling.request import json_of

CHUNK = "nvg-request"  # the keyword of the text chunk


def with_request(picture: Image.Image, request: dict[str, Any], image: int) -> bytes:
    """A PNG whose text chunk has a request and which of its images this one is."""
    text = json.dumps({"request": request, "image": image}, separators=(",", ":"))
    said, buffer = PngImagePlugin.PngInfo(), io.BytesIO()
    said.add_text(CHUNK, text)
    picture.save(buffer, "png", pnginfo=said)
    return buffer.getvalue()


def carried_request(data: bytes) -> tuple[Any, int | None]:
    """The request, not yet read, of such a PNG or of a JSON document, and which image it is.

    InputError where there is none.
    """
    if not data.startswith(b"\x89PNG"):
        return json_of(data), None
    text = open_picture(data, lambda picture: picture.info.get(CHUNK), formats=("PNG",))
    if not isinstance(text, str):
        raise InputError("this PNG carries no request: take one that the studio has written")
    found = json_of(text)
    if not isinstance(found, dict) or type(found.get("image")) is not int:
        raise InputError("the request in this PNG is damaged")
    return found.get("request"), found["image"]
