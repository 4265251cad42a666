"""A page over some images of a store that opens offline: structure, canvases and tokens, linked.

Legend: B image of a batch, N position, T token, D row or column of pixels or of the grid.
"""

import base64
import json
import logging
from importlib.resources import files
from typing import Any

import numpy as np
import torch
from PIL import Image

from nvg.errors import InputError
from nvg.format.base import OK, StoreError
from nvg.format.index import numbers
from nvg.store import Split, Store
from nvg.tokenizer.autoencoder import Detokenizer
from nvg.view.decoder import store_detokenizer
from nvg.view.figures import png_bytes, tiles_of
from nvg.view.summary import split_note

log = logging.getLogger("nvg")

MOST_IMAGES = 200  # per page; each takes a few kilobytes per stage

# row -> uint8 [D, D, 3], for the rows whose source image can still be read
Originals = dict[int, np.ndarray[Any, Any]]


def page_html(store: Store, rows: list[int], originals: Originals | None = None) -> bytes:
    """A self-contained page over these rows of a store.

    InputError for no rows, or more than MOST_IMAGES.
    """
    if not rows or len(rows) > MOST_IMAGES:
        raise InputError(f"a page holds 1..{MOST_IMAGES} images, not {len(rows)}: select others")
    images = image_records(store, rows, originals or {}, decoder_or_none(store))
    classes = sorted({image["class"] for image in images})
    data = {**page_metadata(store, classes), "images": images}
    data["summary"] += f"; {len(rows)} of them on this page"
    return fill_template(data)


def decoder_or_none(store: Store) -> Detokenizer | None:
    """The decoder of a store; None, with a warning, when the store has lost it."""
    try:
        return store_detokenizer(store)
    except StoreError as error:
        log.warning("%s", error)
        return None


def page_metadata(store: Store, classes: list[str]) -> dict[str, Any]:
    """The store's summary line, geometry and classes, for the page."""
    geometry = store.geometry
    note = split_note(len(store), store.count(Split.VAL))
    state = "" if store.finished else "UNFINISHED, "
    errors = sum(map(len, store.index_tables())) - len(store.ok_rows(None))
    return {
        "path": store.path,
        "summary": f"{state}{len(store):,} images{note}, grid {geometry.grid}x{geometry.grid}, "
        f"stages 0..{geometry.K}, {geometry.tokens} tokens, "
        f"codebook {store.manifest.codebook_size}, {errors:,} error rows",
        "grid": geometry.grid,
        "K": geometry.K,
        "classes": classes,
    }


def fill_template(data: dict[str, Any]) -> bytes:
    """The page's template with its data filled in."""
    # Without a "<", no key of an image can close the script or open another.
    text = json.dumps(data, ensure_ascii=True).replace("<", "\\u003c")
    template = files("nvg.view").joinpath("page.html").read_text(encoding="utf-8")
    return template.replace("DATA", text, 1).encode()


def select_rows(store: Store, text: str | None, count: int = 24) -> list[int]:
    """Rows from `0-11,40`; without a text, `count` evenly spaced ones.

    InputError for bad syntax, for rows out of range, and for a store without rows.
    """
    if text is None:
        known = [row for part in store.index_tables() for row in numbers(part, "row").tolist()]
        if not known:
            raise InputError(f"{store.path} has no rows yet: tokenize some, then look again")
        return (
            [known[n * len(known) // count] for n in range(count)] if len(known) > count else known
        )
    rows: list[int] = []
    for part in text.split(","):
        first, _, last = part.strip().partition("-")
        if not first.isdecimal() or (last and not last.isdecimal()):
            raise InputError(f"--rows {text!r} is not of the form 0-11,40")
        rows += range(int(first), int(last or first) + 1)
    return [entry["row"] for entry in store.entries(rows)]


def image_records(
    store: Store, rows: list[int], originals: Originals, detokenizer: Detokenizer | None = None
) -> list[dict[str, Any]]:
    """Index entry, leaves, tokens and images of rows, in the form that the page reads.

    `detokenizer` is the store's own. Without one, a record has maps but no canvases.
    """
    by_row = {entry["row"]: entry for entry in store.entries(rows)}
    good = [row for row in rows if by_row[row]["status"] == OK]
    stages = list(range(store.geometry.stages))
    pictures = canvas_uris(store, good, stages, detokenizer) if good and detokenizer else {}
    found = []
    for row in rows:
        entry = {name: by_row[row][name] for name in _SHOWN}
        if row in good:
            leaves, content = store.row_tokens([row])
            entry["leaves"], entry["content"] = leaves[0, 0].tolist(), content[0, 0].tolist()
        if row in pictures:
            entry["canvases"] = pictures[row]
        if row in originals:
            entry["original"] = _uri(originals[row])
        found.append(entry)
    return found


_SHOWN = (
    "row",
    "key",
    "label",
    "class",
    "split",
    "width",
    "height",
    "status",
    "reason",
    "stage_error",
)


def canvas_uris(
    store: Store, rows: list[int], stages: list[int], detokenizer: Detokenizer
) -> dict[int, list[str]]:
    """The decoded canvas after each of these stages as data URIs, by row."""
    leaves, content = (torch.from_numpy(each[:, 0]) for each in store.row_tokens(rows))
    tiles = [tiles_of(detokenizer.decode(content, leaves, stage)) for stage in stages]
    return {row: [_uri(each[n]) for each in tiles] for n, row in enumerate(rows)}


def _uri(tile: np.ndarray[Any, Any]) -> str:
    data = base64.b64encode(png_bytes(Image.fromarray(tile))).decode()
    return f"data:image/png;base64,{data}"
