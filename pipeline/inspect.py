"""The inspecting verb: a store or one of its images, for a terminal, a pipe, or a program."""

import contextlib
import json
import sys
from dataclasses import asdict
from pathlib import Path

from rich.console import Console

from nvg.config import build
from nvg.errors import InputError
from nvg.files import require_file_place, write_atomic
from nvg.store import Store, open_store
from nvg.store.format import OK
from nvg.view.html import Originals, page_html, select_rows
from nvg.view.server import HOST, Browser, serve
from nvg.view.sheets import hierarchy_sheet, usage_charts
from nvg.view.summary import summarize
from nvg.view.terminal import row_view, survey_view
from nvg.view.text import row_entry, row_lines, structure_lines, survey_lines
from pipeline.images.blocks import decode_rows
from pipeline.images.crops import Crops
from pipeline.images.label_maps import store_regions
from pipeline.recipe import DataConfig
from pipeline.sources import Row, open_source


def look(store: Store, row: int | None, as_json: bool) -> None:
    """Print a store, or one image of it: in colour where that can be seen, plain in a pipe."""
    if as_json:
        print(json.dumps(_row_facts(store, row) if row is not None else asdict(summarize(store))))
    elif not sys.stdout.isatty():
        print(
            "\n".join(row_lines(store, row) if row is not None else survey_lines(summarize(store)))
        )
    elif row is not None:
        Console().print(row_view(store, row_entry(store, row)))
    else:
        Console().print(survey_view(summarize(store)))


def _row_facts(store: Store, row: int) -> dict[str, object]:
    """The index entry of an image with leaves and tokens of every view."""
    entry = row_entry(store, row)
    if entry["status"] != OK:
        return entry
    return {
        **entry,
        "leaves": store.leaves[row].tolist(),
        "content": store.content[row].tolist(),
    }


def write_page(store: Store, chosen: list[int] | None, text: str | None, out: Path) -> None:
    """Write a page over chosen rows, or those a text names; originals where they can be reached."""
    require_file_place(out)
    rows = chosen or select_rows(store, text)
    write_atomic(out, page_html(store, rows, originals(store, rows)))


def write_sheet(store: Store, chosen: list[int] | None, text: str | None, out: Path) -> None:
    """Draw the hierarchies of chosen rows, of those a text names, or of the first good one."""
    require_file_place(out)
    rows = chosen or (select_rows(store, text) if text else store.ok_rows()[:1].tolist())
    write_atomic(out, hierarchy_sheet(store, rows, originals(store, rows)))


def write_charts(store: Store, chosen: list[int] | None, text: str | None, out: Path) -> None:
    """Chart the store's tokens by stage, whatever rows are shown."""
    require_file_place(out)
    write_atomic(out, usage_charts(summarize(store)))


def originals(store: Store, rows: list[int]) -> Originals:
    """The centre crops of rows out of the store's own source; none where it cannot be read."""
    size = int(store.manifest["image_size"])
    found: Originals = {}
    with contextlib.suppress(InputError, KeyError, OSError):
        source = open_source(build(DataConfig, store.manifest["recipe"]["data"]))
        entries = [row_entry(store, row) for row in rows]
        wanted = [Row(entry["key"], entry["label"]) for entry in entries]
        block = decode_rows(source, wanted, Crops(size))
        for n, row in enumerate(rows):
            if block["reason"][n] == "":
                found[row] = block["pixels"][n, 0].transpose(1, 2, 0)
    return found


def browse(path: str, against: str | None, port: int) -> None:
    """Serve a store to a web browser on this machine until Ctrl-C."""
    store, other = open_store(path), open_store(against) if against else None
    if other is not None and other.geometry != store.geometry:
        raise InputError(
            f"{against} has another grid than {path}: its images cannot be shown beside these"
        )
    server = serve(Browser(store, other, originals), port)
    print(f"http://{HOST}:{server.server_port}/ shows {path}; Ctrl-C ends it", flush=True)
    with server, contextlib.suppress(KeyboardInterrupt):
        server.serve_forever()


def measured(store: Store, segments: str | None) -> list[str]:
    """How good the structure is; with a folder of label maps how it agrees with these."""
    return structure_lines(store, store_regions(store, segments))
