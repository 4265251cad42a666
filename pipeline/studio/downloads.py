"""Files that a page downloads; nothing is kept here."""

import io
import zipfile
from collections.abc import Mapping
from typing import Any

import torch

from nvg.errors import InputError
from nvg.files import json_bytes
from nvg.sequence import Sequences
from nvg.view.figures import (
    film_figure,
    film_frames,
    gif_bytes,
    png_bytes,
    sample_figure,
    shown_side,
)
from pipeline.sampling.places import FRAME_SIDE, SIDE
from pipeline.sampling.repeat import files_of
from pipeline.sampling.request import MOST_IMAGES, Reference, Request, read_reference
from pipeline.studio.models import Models
from pipeline.studio.pictures import film_pictures

WRITTEN = (1980, 1, 1, 0, 0, 0)  # of all files in an archive: equal requests give equal bytes


def read_references(table: Any, most: int = 1) -> list[Reference]:
    """The references of a question: one, or with `most` up to so many."""
    if isinstance(table, Mapping):
        found = table.get("references") if most > 1 else [table.get("reference")]
        if isinstance(found, list) and 1 <= len(found) <= most:
            return [read_reference(each) for each in found]
    raise InputError(f"name {'1..' if most > 1 else ''}{most} reference{'s' * (most > 1)}")


def gif(models: Models, reference: Reference) -> bytes:
    """The stages of one image, a frame each."""
    side = shown_side(models.generators.detokenizer.config.image_size, FRAME_SIDE)
    (frames,) = film_frames(models.film(models.sequences(reference)), side)
    return gif_bytes(frames)


def sheet(models: Models, references: list[Reference]) -> bytes:
    """The stages of at most MOST_STAGED images as one PNG."""
    side = shown_side(models.generators.detokenizer.config.image_size, SIDE)
    return png_bytes(film_figure(models.film(_together(models, references)), side))


def contact(models: Models, references: list[Reference], names: list[str], columns: int) -> bytes:
    """Finished images as one PNG, a row a name."""
    placed = _together(models, references).to(models.device)
    pixels = models.generators.detokenizer.decode(placed.content, placed.leaves)
    return png_bytes(sample_figure(pixels, names, columns))


def read_contact(table: Any) -> tuple[list[Reference], list[str], int]:
    """References, names of rows and columns of a contact sheet."""
    references = read_references(table, MOST_IMAGES)
    names, columns = table.get("names"), table.get("columns")
    if type(columns) is not int or not 1 <= columns <= MOST_IMAGES:
        raise InputError(f"columns must be 1..{MOST_IMAGES}")
    rows = -(-len(references) // columns)
    if not isinstance(names, list) or len(names) != rows:
        raise InputError(f"{len(references)} images in {columns} columns need {rows} names")
    return references, [str(name) for name in names], columns


def bundle(models: Models, request: Request) -> bytes:
    """A ZIP of the request, what repeats it, and the files that this reads."""
    words, buffer = models.words(request), io.BytesIO()
    files = {
        "request.json": json_bytes(words["request"]),
        "command.txt": words["command"].encode() + b"\n",
        "repeat.py": words["python"].encode(),
        **files_of(request, models.geometry),
    }
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            archive.writestr(zipfile.ZipInfo(name, WRITTEN), data)
    return buffer.getvalue()


def _together(models: Models, references: list[Reference]) -> Sequences:
    found = [models.sequences(reference) for reference in references]
    leaves, content = (
        torch.cat([getattr(each, part).long() for each in found]) for part in ("leaves", "content")
    )
    return Sequences(leaves, content, torch.full((len(found),), -1))


def film(models: Models, reference: Reference) -> dict[str, Any]:
    """The stages of a reference as a page shows them, and its tokens."""
    sequences, label, name = models.sequences(reference), None, reference.name
    if reference.is_row and models.store is not None:
        (entry,) = models.store.entries([reference.row or 0])
        label, name = entry["label"], entry["key"]
    return {
        "film": film_pictures(models.film(sequences)),
        "reference": models.as_tokens(sequences, name=name),
        "label": label,
        "name": name,
    }
